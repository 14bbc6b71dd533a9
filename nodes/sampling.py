"""Sampling: images of a model, and two batches of images side by side."""

from ..gansketching_core.images import from_comfy, to_comfy
from ..gansketching_core.latents.sampling import SampleConfig, render, sample_z
from ..gansketching_core.latents.spaces import Latents
from ..gansketching_core.networks.stylegan2 import GanModel
from ..gansketching_core.options import build
from . import host, pictures
from . import widgets as ui
from .widgets import LATENTS, MODEL

IN_TURN = "all classes in turn"  # what class_index -1 means for random latents


def batch_size(model: GanModel) -> int:
    """Images to generate at a time: few enough that cancelling is prompt and memory use small."""
    return max(1, 2 * 256**2 // model.config.resolution**2)


class Sample:
    DISPLAY_NAME = "Sample GAN"
    CATEGORY = "GANSketching/sampling"
    DESCRIPTION = "Generates images with a StyleGAN2, from random latents or from the latents of another node."
    SEARCH_ALIASES = ("generate", "sampler", "gan", "stylegan", "latent")
    RETURN_TYPES = ("IMAGE", LATENTS)
    RETURN_NAMES = ("images", "latents")
    OUTPUT_TOOLTIPS = ("The images.", "The latents that they were generated from.")
    FUNCTION = "sample"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "A generator, original or customised."),
        seed=ui.seed(changes=True, tooltip="Seed of the random latents and of random noise."),
        count=ui.integer(8, 1, 1024, "How many images. A larger number adds images and keeps the first ones."),
        **ui.widgets(SampleConfig),
        class_index=ui.class_index(IN_TURN),
        optional={"latents": ui.socket(LATENTS, "Used instead of random ones. count and class_index are then unused.")},
    )

    def sample(self, model, seed, count, class_index, latents=None, **options):
        config = build(SampleConfig, **options)
        if latents is None:
            latents = sample_z(model, count, seed, ui.or_none(class_index))
        progress = host.Progress(len(latents))
        with host.borrowed_device(1) as device:
            model = host.model_on_device(model, device)
            x = render(model, latents, config, seed=seed, batch=batch_size(model), on_batch=progress.on_batch)
            return to_comfy(x), Latents(latents.space, latents.data.cpu(), latents.labels)


class SideBySide:
    DISPLAY_NAME = "Images Side by Side"
    CATEGORY = "GANSketching/sampling"
    DESCRIPTION = "Puts one or two batches of images, such as before and after, into one picture with titles."
    SEARCH_ALIASES = ("compare", "grid", "contact sheet", "before after", "image grid")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("picture",)
    OUTPUT_TOOLTIPS = ("All images in one picture.",)
    FUNCTION = "compose"
    INPUT_TYPES = ui.inputs(
        left=ui.socket("IMAGE", "The images on the left."),
        left_title=ui.text("original", "Title of the left images."),
        right_title=ui.text("customised", "Title of the right images."),
        columns=ui.integer(0, 0, 64, "Columns of each grid. 0: as many as make the largest grid about square."),
        optional={
            "right": ui.socket("IMAGE", "The images on the right. Without any, the picture is one grid."),
            "sketches": ui.socket("IMAGE,MASK", "Sketches to show first, at most as many as there are images."),
        },
    )

    def compose(self, left, right=None, left_title="", right_title="", columns=0, sketches=None):
        parts = [(left_title, left)]
        if right is not None:
            parts.append((right_title, right))
        if sketches is not None:
            sketches = to_comfy(from_comfy(sketches))  # a MASK becomes black on white
            parts.insert(0, ("sketches", sketches[: max(len(batch) for _, batch in parts)]))
        return (pictures.to_image(pictures.labelled(parts, columns=columns)),)
