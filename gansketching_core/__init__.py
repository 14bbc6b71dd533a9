"""Sketch Your Own GAN: customise a pretrained StyleGAN2 with one or a few sketches.

The names below are imported when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module

_PUBLIC = {
    "images": ("from_comfy", "grid", "save_png", "to_comfy"),
    "datasets": ("ImageSet", "load_images"),
    "networks.stylegan2": ("Discriminator", "GanConfig", "GanModel", "Generator"),
    "networks.photosketch": ("PhotoSketch",),
    "networks.line_extractor": ("LineExtractor",),
    "checkpoints.describe": ("describe",),
    "checkpoints.export": ("export_gansketching", "export_rosinality"),
    "checkpoints.hashes": ("weights_hash",),
    "checkpoints.load": ("load_customised", "load_model", "load_photosketch"),
    "checkpoints.native": ("save_customised", "save_model", "save_photosketch"),
    "checkpoints.onnx_export": ("OnnxConfig", "export_onnx"),
    "sketches.prepare": ("SketchConfig", "prepare_sketches"),
    "latents.spaces": ("Latents",),
    "latents.sampling": ("SampleConfig", "render", "sample_drawings", "sample_z"),
    "latents.model_mixing": ("compose_models", "interpolate_models"),
    "latents.bridge": ("LatentBridge", "cross", "fit_bridge"),
    "latents.ganspace": ("Directions", "fit_directions"),
    "gallery.gallery": ("GalleryConfig", "write_gallery"),
    "inversion.bridging": ("BridgeConfig", "BridgeFitter"),
    "inversion.image": ("ProjectConfig", "Projector"),
    "inversion.sketch": ("SketchSearch", "SketchSearchConfig"),
    "training.finetune_config": ("FinetuneConfig",),
    "training.finetune": ("SketchFinetuner",),
    "training.finetune_run": ("RunResult", "customise"),
    "training.loop": ("StepReport",),
    "training.pretrain": ("PretrainConfig", "Pretrainer"),
    "evaluation.sketch_match": ("sketch_match",),
}
_MODULE_OF = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str):
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_MODULE_OF[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
