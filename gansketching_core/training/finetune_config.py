"""Options of a fine-tuning, and the presets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from .losses import GanLoss


class FinetuneConfig(BaseModel):
    """Options of a fine-tuning. The defaults are the `fast` preset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(150, ge=1, le=1_000_000, description="Length of the training in steps.")
    moves: Literal["mapping", "w_shift"] = Field(
        "mapping", description="What is trained: the whole mapping network, or one shift of w."
    )
    learning_rate: float = Field(0.02, gt=0, le=1, description="Adam's learning rate of the mapping network.")
    discriminator_learning_rate: float = Field(0.001, gt=0, le=1, description="Adam's learning rate of D_X and D_Y.")
    batch: int = Field(8, ge=1, le=256, description="Images a step.")
    loss: GanLoss = Field("softplus", description="The adversarial loss.")
    sketch_discriminator: Literal["pretrained", "scratch"] = Field(
        "pretrained", description="Where D_Y starts: the base model's discriminator, or random weights."
    )
    regularisation: Literal["auto", "images", "generator", "weights", "none"] = Field(
        "auto",
        description="What keeps colours and textures: your images, samples of the original generator, a penalty on the "
        "change of weights, or nothing. auto: images when given, else the generator.",
    )
    image_weight: float = Field(
        0.05,
        ge=0,
        le=100,
        description="Weight of the image term (the paper's lambda, 0.7 there). More keeps more of the original.",
    )
    weight_penalty: float = Field(50.0, ge=0, le=1e6, description="Strength of regularisation by weights.")
    r1_gamma: float = Field(1.0, ge=0, le=1000, description="Weight of the R1 penalty of both discriminators.")
    r1_every: int = Field(8, ge=1, le=1000, description="Steps between R1 penalties.")
    style_mixing: float = Field(0.9, ge=0, le=1, description="Probability that a batch mixes two latents.")
    augmentation: str = Field(
        "translation", description="DiffAugment of what D_Y sees; any of color, translation, cutout, upscale."
    )
    sketch_scale: Literal[1.0, 0.5, 0.25] = Field(
        1.0, description="Size at which the sketcher draws, relative to the image; 0.25 for 1024 px models."
    )
    warm_start: float = Field(
        1.5,
        ge=0,
        le=2,
        description="Before the first step, shift all w this far towards the samples nearest to each sketch; 0: not.",
    )
    match_strokes: bool = Field(
        True, description="Redraw the sketches with strokes as wide as the sketcher's, so that only shapes differ."
    )
    batch_statistics: bool = Field(False, description="Sketcher normalises over the batch, as the reference does.")
    ema: float = Field(0.98, ge=0, lt=1, description="Averaging of the trained weights over steps; 0 turns it off.")
    share_fakes: bool = Field(True, description="One batch of images a step serves generator and discriminators.")
    class_index: int = Field(0, ge=0, description="The class to customise, for class-conditional models.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="bfloat16 is faster where the hardware has it; auto uses it there."
    )
    compile: bool = Field(False, description="Compile the discriminators (needs a C++ compiler on a CPU).")
    # New options go here, and into nodes.training.ADDED_LATER: saved workflows know a node's values by their order.
    warm_spread: float = Field(
        0.7,
        gt=0,
        le=1,
        description="What the warm start leaves of the spread of w: less is nearer to the sketches and less varied.",
    )
    line_weight: float = Field(
        300.0,
        ge=0,
        le=1e4,
        description="Weight of the distance from each image's drawing to the sketch it is nearest to; 0: D_Y alone.",
    )
    seed: int = Field(0, ge=0, le=2**63 - 1, description="Seed of every random number.")

    @classmethod
    def preset(cls, name: str, **changes) -> FinetuneConfig:
        """`fast`: a good result in a few hundred steps; `paper`: the reference's settings (days on a CPU)."""
        if name not in PRESETS:
            raise ValueError(f'preset "{name}" is unknown; use one of {", ".join(PRESETS)}')
        return cls(**{**PRESETS[name], **changes})


PRESETS: dict[str, dict] = {
    "fast": {},
    "paper": {
        "steps": 75_000,
        "learning_rate": 0.002,
        "discriminator_learning_rate": 0.002,
        "image_weight": 0.7,
        "r1_gamma": 10.0,
        "r1_every": 16,
        "batch": 4,
        "warm_start": 0.0,
        "line_weight": 0.0,
        "match_strokes": False,
        "batch_statistics": True,
        "ema": 0.0,
        "share_fakes": False,
        "precision": "float32",
    },
}
