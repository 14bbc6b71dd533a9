"""Projection: latents whose image looks like a photo, or whose line drawing looks like a sketch."""

import time
from collections.abc import Callable, Sequence

from PIL import Image
from torch import Tensor

from ..gansketching_core.datasets import ImageSet
from ..gansketching_core.images import to_comfy
from ..gansketching_core.inversion.image import ProjectConfig, Projection, Projector
from ..gansketching_core.inversion.sketch import SketchSearch, SketchSearchConfig
from ..gansketching_core.latents.spaces import Latents
from ..gansketching_core.options import build
from . import host, pictures
from . import widgets as ui
from .sketching import PHOTOSKETCH, as_sketches
from .widgets import LATENTS, MODEL

PREVIEW_EVERY = 0.5  # seconds between live previews, at least
PREVIEW_COUNT = 16  # images in a preview, at most
HIDDEN = ("seed", "ramp_up", "ramp_down", "latent_noise", "batch", "noise_weight", "generation_steps")
ALL_CLASSES = "samples of all classes are tried"


def follow(search: Projector | SketchSearch, picture: Callable[[], Image.Image]) -> float:
    """Take all steps, with progress, previews from `picture`, and cancelling -> seconds."""
    progress = host.Progress(search.steps_total)
    started = time.perf_counter()
    due = 0.0
    search.poll = host.poll
    while not search.finished:
        search.step()
        preview = None
        if time.perf_counter() >= due:
            preview = picture()
            due = time.perf_counter() + PREVIEW_EVERY
        progress.update(search.steps_done, preview)
    return time.perf_counter() - started


def so_far(title: str, targets: Tensor, images: Tensor) -> Image.Image:
    """A preview: the first targets beside the best images so far, both [N,C,R,R] in -1..1."""
    parts = [(title, targets), ("so far", images)]
    return pictures.labelled([(label, to_comfy(x[:PREVIEW_COUNT])) for label, x in parts])


def on_cpu(latents: Latents) -> Latents:
    return Latents(latents.space, latents.data.cpu(), None if latents.labels is None else latents.labels.cpu())


def resized_mask(mask: Tensor | Sequence[Tensor], size: int) -> Tensor:
    """MASK [B,H,W] or [H,W], or several -> [B,1,size,size] in 0..1, cropped to the central square as photos are."""
    masks = [mask] if isinstance(mask, Tensor) else mask
    photos = ImageSet([part.reshape(-1, *part.shape[-2:], 1) for part in masks], size)
    return (photos.batch(range(len(photos)))[:, :1] + 1) / 2


@ui.takes_lists("images", "mask")
class ProjectImage:
    DISPLAY_NAME = "Project Image"
    CATEGORY = "GANSketching/projecting"
    DESCRIPTION = "Searches for latents from which a model generates an image like yours, to edit a photo."
    SEARCH_ALIASES = ("inversion", "invert", "image to latent", "encode", "gan inversion", "edit photo")
    RETURN_TYPES = (LATENTS, "IMAGE", "STRING")
    RETURN_NAMES = ("latents", "reconstruction", "report")
    OUTPUT_TOOLTIPS = ("The latents.", "The images of these latents.", "How similar they are to yours, as a text.")
    FUNCTION = "project"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator whose latents are searched."),
        images=ui.socket(
            "IMAGE", "One or more images, of any sizes, like those the model was trained on. Cropped to squares."
        ),
        **ui.widgets(ProjectConfig, skip=HIDDEN),
        seed=ui.seed(changes=False, tooltip="Seed of the random samples that the search starts from."),
        class_index=ui.class_index(ALL_CLASSES),
        optional={"mask": ui.socket("MASK", "Only the marked part is compared. One mask for all images, or one each.")},
    )

    def project(self, model, images, class_index, mask=None, **options):
        config = build(ProjectConfig, **options)
        size = model.config.resolution
        with host.training_mode(), host.borrowed_device(size / 64) as device:
            photos = ImageSet(images, size)
            targets = photos.batch(range(len(photos))).to(device)
            if mask is not None:
                mask = resized_mask(mask, size)
            base = host.model_on_device(model, device, discriminator=config.perceptual_weight > 0)
            search = Projector(base, targets, config, mask=mask, label=ui.or_none(class_index))
            seconds = follow(search, lambda: so_far("image", targets, search.result().images))
            result = search.result()
        report = self.report(model.name, result, config.space, seconds)
        return on_cpu(result.latents), to_comfy(result.images), report

    @staticmethod
    def report(name: str, result: Projection, space: str, seconds: float) -> str:
        """A text: what was projected, how long it took, how similar the images are."""
        decibels = ", ".join(f"{value:.1f}" for value in result.psnr.tolist())
        lines = [
            f"{len(result.psnr)} images projected into {space} of {name} in {seconds:.0f} s.",
            f"PSNR: median {float(result.psnr.median()):.1f} dB ({decibels}). Above 20 is near, above 30 almost equal.",
            f"Loss: median {float(result.loss.median()):.4f}.",
        ]
        return "\n".join(lines)


@ui.takes_lists("sketches")
class ProjectSketch:
    DISPLAY_NAME = "Project Sketch"
    CATEGORY = "GANSketching/projecting"
    DESCRIPTION = "One sketch in, images out, without training: searches for latents whose drawings match it."
    SEARCH_ALIASES = ("sketch to image", "search", "find", "drawing to image", "inversion")
    RETURN_TYPES = (LATENTS, "IMAGE", "IMAGE", "STRING")
    RETURN_NAMES = ("latents", "images", "drawings", "report")
    OUTPUT_TOOLTIPS = (
        "The latents, those nearest to the sketch first.",
        "The images of these latents.",
        "The images as line drawings, as they were compared with the sketch.",
        "How near the drawings are to the sketch, as a text.",
    )
    FUNCTION = "project"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator whose latents are searched."),
        sketches=ui.socket("IMAGE,MASK", "Sketches, black on white: each image follows the one it is nearest to."),
        photosketch=PHOTOSKETCH,
        **ui.widgets(SketchSearchConfig, skip=HIDDEN),
        seed=ui.seed(changes=True, tooltip="Seed of the random samples that the search starts from."),
        class_index=ui.class_index(ALL_CLASSES),
    )

    def project(self, model, sketches, photosketch, class_index, **options):
        config = build(SketchSearchConfig, **options)
        size = model.config.resolution
        with host.training_mode(), host.borrowed_device(size / 64) as device:
            base = host.model_on_device(model, device)
            network = host.on_device(photosketch, device)
            prepared = as_sketches(sketches, size)
            search = SketchSearch(base, prepared, network, config, label=ui.or_none(class_index))
            seconds = follow(search, lambda: so_far("sketches", prepared, search.result().images))
            result = search.result()
        nearest, farthest = float(result.distance.min()), float(result.distance.max())
        report = (
            f"{len(result.distance)} images for {len(prepared)} sketches in {seconds:.0f} s.\n"
            f"Distance of their lines: {nearest:.3f} to {farthest:.3f} of the image side. Below 0.02 is near."
        )
        return on_cpu(result.latents), to_comfy(result.images), to_comfy(result.drawings), report
