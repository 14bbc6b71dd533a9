"""Latent bridges: from the latents of one model to those of another. Fitted, saved, loaded and applied."""

import hashlib
from functools import partial

from ..gansketching_core.images import resize, to_comfy
from ..gansketching_core.inversion.bridging import BridgeConfig, BridgeFitter
from ..gansketching_core.latents.bridge import cross, identity
from ..gansketching_core.latents.latent_files import load_bridge, save_bridge
from ..gansketching_core.latents.sampling import render, sample_z
from ..gansketching_core.latents.spaces import to_w
from ..gansketching_core.options import build
from . import host, model_files, pictures
from . import widgets as ui
from .sampling import batch_size
from .widgets import LATENTS, MODEL

BRIDGE = "GANSKETCHING_BRIDGE"
SHOWN, COLUMNS = 8, 4  # images before and after, in a picture of the fit


class BridgeNode:
    CATEGORY = "GANSketching/bridges"
    RETURN_TYPES = (BRIDGE,)
    RETURN_NAMES = ("bridge",)
    OUTPUT_TOOLTIPS = ("The bridge, for Bridge GAN Latents and Save Latent Bridge.",)


class FitBridge(BridgeNode):
    DISPLAY_NAME = "Fit Latent Bridge"
    DESCRIPTION = (
        "Learns how latents of one model become latents of another that give a similar image. A cancelled fit goes on "
        "where it stopped."
    )
    SEARCH_ALIASES = ("translate latents", "latent mapping", "cross model", "transfer", "regression")
    RETURN_TYPES = (BRIDGE, "IMAGE", "STRING")
    RETURN_NAMES = ("bridge", "picture", "report")
    OUTPUT_TOOLTIPS = (
        BridgeNode.OUTPUT_TOOLTIPS[0],
        "Samples of the source, and the target's images of the same latents taken across.",
        "How near bridged images are on latents that the fit has not seen, compared with projecting them one by one.",
    )
    FUNCTION = "fit"
    INPUT_TYPES = ui.inputs(
        source=ui.socket(MODEL, "The model that latents come from."),
        target=ui.socket(MODEL, "The model that they go to."),
        **ui.widgets(BridgeConfig, skip=["batch", "seed"]),
        seed=ui.seed(changes=False, tooltip="Seed of the samples."),
    )

    def fit(self, source, target, **options):
        size = target.config.resolution
        with host.training_mode(), host.borrowed_device(size / 64) as device:
            config = build(BridgeConfig, **options)
            source = host.model_on_device(source, device)
            target = host.model_on_device(target, device, discriminator=True)
            names = repr([identity(model, config.pairs) for model in (source, target)] + [config.model_dump()])
            keep = model_files.runs_folder() / hashlib.sha256(names.encode()).hexdigest()[:32] / "bridge.safetensors"
            search = BridgeFitter(source, target, config, keep=keep)
            search.poll = host.poll
            progress = host.Progress(search.steps_total)
            while not search.finished:
                search.step()
                host.poll()
                progress.update(search.steps_done)
            bridge, report = search.result()
            w = to_w(source, sample_z(source, SHOWN, config.seed))  # the first ones are held out
            before = resize(render(source, w, batch=batch_size(source)), size)
            after = render(target, cross(bridge, source, target, w), batch=batch_size(target))
        parts = [(source.name, to_comfy(before)), (target.name, to_comfy(after))]
        return bridge, pictures.to_image(pictures.labelled(parts, columns=COLUMNS)), str(report)


class BridgeLatents(BridgeNode):
    DISPLAY_NAME = "Bridge GAN Latents"
    DESCRIPTION = "Takes latents of one model across a bridge: latents of another model, whose images are similar."
    SEARCH_ALIASES = ("translate latents", "apply bridge", "cross model", "transfer", "convert latents")
    RETURN_TYPES = (LATENTS,)
    RETURN_NAMES = ("latents",)
    OUTPUT_TOOLTIPS = ("Latents of the target, in w or w+, for Sample GAN.",)
    FUNCTION = "cross"
    INPUT_TYPES = ui.inputs(
        bridge=ui.socket(BRIDGE, "From Fit Latent Bridge or Load Latent Bridge."),
        source=ui.socket(
            MODEL, "The model that the latents are for; with a projected bridge, or one customised from it."
        ),
        target=ui.socket(
            MODEL, "The model that the bridge leads to; with a projected bridge, or one customised from it."
        ),
        latents=ui.socket(LATENTS, "Latents of the source, in z or w; in w+ if both models have as many layers."),
    )

    def cross(self, bridge, source, target, latents):
        return (cross(bridge, source, target, latents),)


class SaveBridge(BridgeNode):
    DISPLAY_NAME = "Save Latent Bridge"
    DESCRIPTION = "Saves a bridge as a small file in output/gansketching/bridges, for Load Latent Bridge."
    SEARCH_ALIASES = ("export", "keep", "store")
    RETURN_TYPES = ()
    RETURN_NAMES = ()
    OUTPUT_TOOLTIPS = ()
    OUTPUT_NODE = True
    FUNCTION = "save"
    INPUT_TYPES = ui.inputs(bridge=ui.socket(BRIDGE, "The bridge to save."), name=model_files.name_widget("bridge"))

    def save(self, bridge, name):
        contents = f"from {bridge.source} to {bridge.target}"
        return model_files.save(name, model_files.BRIDGES, partial(save_bridge, bridge), contents)


class LoadBridge(BridgeNode):
    DISPLAY_NAME = "Load Latent Bridge"
    DESCRIPTION = "Loads a bridge that was saved with Save Latent Bridge."
    SEARCH_ALIASES = ("import", "restore")
    FUNCTION = "load"
    INPUT_TYPES = ui.inputs(name=model_files.choice(model_files.bridges, "Files of output/gansketching/bridges."))
    IS_CHANGED = model_files.changes_of(model_files.bridges, "name")

    @classmethod
    def VALIDATE_INPUTS(cls, name):
        remedy = "Save a bridge with Save Latent Bridge and refresh the node list (R)."
        return model_files.listed(model_files.bridges(), name, remedy)

    def load(self, name):
        return (load_bridge(model_files.pick(model_files.bridges(), name)),)
