"""Options of a fine-tuning, and the presets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .losses import GanLoss

ADVANCED = {
    "advanced": True
}  # marks options that few people turn: folded in the editor, a group of their own in --help


class FinetuneConfig(BaseModel):
    """Options of a fine-tuning. The defaults are the `fast` preset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(150, ge=1, le=1_000_000, description="Length of the training in steps.")
    batch: int = Field(8, ge=1, le=256, description="Images per step.")
    learning_rate: float = Field(0.02, gt=0, le=1, description="Adam's learning rate of the mapping network.")
    warm_start: float = Field(
        1.5,
        ge=0,
        le=2,
        description="Shift of w before the first step: step length, as a multiple of the way from the mean w to the "
        "samples whose drawings match the sketches best; 0 disables it.",
    )
    warm_spread: float = Field(
        0.7,
        gt=0,
        le=1,
        description="Share of the spread of w that the warm start keeps: less is nearer to the sketches and less "
        "varied.",
    )
    distance_weight: float = Field(
        300.0,
        ge=0,
        le=1e4,
        description="Weight of the Chamfer distance from the drawing of each image to the sketch nearest to it; "
        "0 leaves the discriminator D_Y alone.",
    )
    image_weight: float = Field(
        0.05,
        ge=0,
        le=100,
        description="Weight of the image term (lambda in the paper, 0.7 there). More keeps more of the original.",
    )
    class_index: int = Field(0, ge=0, description="The class to customise, for class-conditional models.")
    trainable: Literal["mapping", "w_shift"] = Field(
        "mapping",
        description="What is trained: the whole mapping network, or one shift of w.",
        json_schema_extra=ADVANCED,
    )
    discriminator_learning_rate: float = Field(
        0.001, gt=0, le=1, description="Adam's learning rate of D_X and D_Y.", json_schema_extra=ADVANCED
    )
    loss: GanLoss = Field("softplus", description="The adversarial loss.", json_schema_extra=ADVANCED)
    sketch_discriminator: Literal["pretrained", "scratch"] = Field(
        "pretrained",
        description="Initial weights of D_Y: the base model's discriminator, or random.",
        json_schema_extra=ADVANCED,
    )
    regularisation: Literal["auto", "images", "generator", "weights", "none"] = Field(
        "auto",
        description="What preserves colours and textures: your images, samples of the original generator, a penalty on "
        "the change of weights, or nothing. auto: images if given, otherwise the generator.",
        json_schema_extra=ADVANCED,
    )
    weight_penalty: float = Field(
        50.0, ge=0, le=1e6, description="Strength of regularisation by weights.", json_schema_extra=ADVANCED
    )
    r1_gamma: float = Field(
        1.0,
        ge=0,
        le=1000,
        description="Weight of the R1 penalty of both discriminators.",
        json_schema_extra=ADVANCED,
    )
    r1_every: int = Field(8, ge=1, le=1000, description="Steps between R1 penalties.", json_schema_extra=ADVANCED)
    style_mixing: float = Field(
        0.9, ge=0, le=1, description="Probability that a batch mixes two latents.", json_schema_extra=ADVANCED
    )
    augmentation: str = Field(
        "translation",
        description="DiffAugment of what D_Y sees; any of color, translation, cutout, upscale.",
        json_schema_extra=ADVANCED,
    )
    sketch_scale: Literal[1.0, 0.5, 0.25] = Field(
        1.0,
        description="Size at which the sketcher draws, relative to the image; 0.25 for 1024 px models.",
        json_schema_extra=ADVANCED,
    )
    batch_statistics: bool = Field(
        False,
        description="The sketcher normalises over the batch, as in the reference implementation.",
        json_schema_extra=ADVANCED,
    )
    ema: float = Field(
        0.98,
        ge=0,
        lt=1,
        description="Decay per step of the exponential moving average of the trained weights; 0 disables it.",
        json_schema_extra=ADVANCED,
    )
    share_fakes: bool = Field(
        True,
        description="One batch of images per step serves the generator and the discriminators.",
        json_schema_extra=ADVANCED,
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto",
        description="bfloat16 is faster where the hardware supports it; auto uses it there.",
        json_schema_extra=ADVANCED,
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of every random number.")

    @classmethod
    def preset(cls, name: str, **changes) -> FinetuneConfig:
        """`fast`: a good result in 150 steps; `paper`: the settings of the reference implementation (days on a CPU)."""
        if name not in PRESETS:
            raise ValueError(f'preset "{name}" is unknown; use one of {", ".join(PRESETS)}')
        return cls(**{**PRESETS[name], **changes})


PRESETS: dict[str, dict] = {
    "fast": {},
    "paper": {
        "steps": 75_000,
        "batch": 4,
        "learning_rate": 0.002,
        "warm_start": 0.0,
        "distance_weight": 0.0,
        "image_weight": 0.7,
        "discriminator_learning_rate": 0.002,
        "r1_gamma": 10.0,
        "r1_every": 16,
        "batch_statistics": True,
        "ema": 0.0,
        "share_fakes": False,
        "precision": "float32",
    },
}
