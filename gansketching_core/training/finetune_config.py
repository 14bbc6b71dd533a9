"""Options of a fine-tuning, and the presets."""

from __future__ import annotations

from functools import partial
from typing import Literal

from ..options import Options, option
from .losses import GanLoss
from .micro_batches import micro_batch_option

_advanced = partial(option, advanced=True)


class FinetuneConfig(Options):
    """Options of a fine-tuning. The defaults are the `fast` preset."""

    steps: int = option(150, "Length of the training in steps.", ge=1, le=1_000_000)
    batch: int = option(8, "Images per step.", ge=1, le=256)
    learning_rate: float = option(0.02, "Adam's learning rate of the mapping network.", gt=0, le=1)
    warm_start: float = option(
        1.5,
        "Shift of w before the first step: step length, as a multiple of the difference between the mean w "
        "and the samples whose drawings match the sketches best; 0 disables it.",
        ge=0,
        le=2,
    )
    warm_spread: float = option(
        0.5,
        "Share of the spread of w that the warm start keeps: less is nearer to the sketches and less varied.",
        gt=0,
        le=1,
    )
    distance_weight: float = option(
        300.0,
        "Weight of the Chamfer distance from the drawing of each image to the sketch nearest to it; "
        "0 leaves the discriminator D_Y alone.",
        ge=0,
        le=1e4,
    )
    image_weight: float = option(
        0.05,
        "Weight of the image term (lambda in the paper, 0.7 there). More keeps more of the original.",
        ge=0,
        le=100,
    )
    class_index: int = _advanced(0, "The class to customise, for class-conditional models.", ge=0)
    trainable: Literal["mapping", "w_shift"] = _advanced(
        "mapping", "What is trained: the whole mapping network, or one shift of w."
    )
    discriminator_learning_rate: float = _advanced(0.001, "Adam's learning rate of D_X and D_Y.", gt=0, le=1)
    loss: GanLoss = _advanced("softplus", "The adversarial loss.")
    sketch_discriminator: Literal["pretrained", "scratch"] = _advanced(
        "pretrained", "Initial weights of D_Y: the base model's discriminator, or random."
    )
    regularisation: Literal["auto", "images", "generator", "weights", "none"] = _advanced(
        "auto",
        "What preserves colours and textures: your images, samples of the original generator, a penalty on the change "
        "of weights, or nothing. auto: images if given, otherwise the generator.",
    )
    weight_penalty: float = _advanced(50.0, "Strength of regularisation by weights.", ge=0, le=1e6)
    r1_gamma: float = _advanced(1.0, "Weight of the R1 penalty of both discriminators.", ge=0, le=1000)
    r1_every: int = _advanced(8, "Steps between R1 penalties.", ge=1, le=1000)
    style_mixing: float = _advanced(0.9, "Probability that a batch mixes two latents.", ge=0, le=1)
    augmentation: str = _advanced(
        "translation", "DiffAugment of what D_Y sees; any of color, translation, cutout, upscale."
    )
    sketch_scale: Literal[1.0, 0.5, 0.25] = _advanced(  # pyright: ignore[reportInvalidTypeForm]
        1.0, "Size at which the sketcher draws, relative to the image; 0.25 for 1024 px models."
    )
    batch_statistics: bool = _advanced(
        False, "The sketcher normalises over the batch, as in the reference implementation."
    )
    ema: float = _advanced(
        0.98, "Decay per step of the exponential moving average of the trained weights; 0 disables it.", ge=0, lt=1
    )
    share_fakes: bool = _advanced(True, "One batch of images per step serves the generator and the discriminators.")
    precision: Literal["auto", "float32", "bfloat16"] = _advanced(
        "auto", "bfloat16 is faster if the hardware supports it; auto uses it then."
    )
    seed: int = option(0, "Seed of every random number.", ge=0, le=2**63 - 1)
    micro_batch: int = micro_batch_option(advanced=True)
    gradient_checkpointing: Literal["auto", "on", "off"] = _advanced(
        "auto",
        "Compute activations again instead of keeping them: the same result from about half the memory, with half as "
        "many operations more. auto: if the free memory is too small otherwise.",
    )
    shape_resolution: Literal[0, 4, 8, 16, 32, 64, 128] = option(
        16,
        "Layers up to this resolution follow the sketches; the finer ones keep the original's w, and with it its "
        "colours and textures. 0: all layers follow, as in the paper.",
    )

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
        "shape_resolution": 0,
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
