"""Sketch Your Own GAN: customise a pretrained StyleGAN2 with one or a few sketches.

The names below are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

from importlib import import_module

_HOME = {
    "checkpoints": (
        "describe",
        "load_customised",
        "load_model",
        "load_photosketch",
        "save_customised",
        "save_model",
        "save_photosketch",
    ),
    "evaluate": ("sketch_match",),
    "finetune": ("FinetuneConfig", "SketchFinetuner", "StepReport"),
    "ganspace": ("Directions", "fit_directions"),
    "images": (
        "ImageSet",
        "SketchConfig",
        "from_comfy",
        "grid",
        "load_images",
        "prepare_sketches",
        "save_png",
        "to_comfy",
    ),
    "latents": ("Latents", "SampleConfig", "interpolate_models", "render", "sample_z"),
    "photosketch": ("LineExtractor", "PhotoSketch"),
    "pretrain": ("PretrainConfig", "Pretrainer"),
    "project": ("ProjectConfig", "Projector", "SketchSearch", "SketchSearchConfig"),
    "runs": ("RunResult", "customise", "sketches_for"),
    "stylegan2": ("Discriminator", "GanConfig", "GanModel", "Generator"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
