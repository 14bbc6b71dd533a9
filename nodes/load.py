"""Loading: generators, photo-to-sketch networks, drawings, photos. Saving: customised models."""

import json
from functools import partial

from ..gansketching_core.checkpoints.hashes import weights_hash
from ..gansketching_core.checkpoints.load import load_photosketch
from ..gansketching_core.checkpoints.native import save_customised
from ..gansketching_core.datasets import ImageSet, image_names, load_images
from ..gansketching_core.images import to_comfy
from ..gansketching_core.networks.line_extractor import LineExtractor
from . import host, model_files
from . import widgets as ui
from .sketching import as_sketches
from .widgets import MODEL

LINE_EXTRACTOR = "line extractor (no weights)"


class LoadStyleGAN:
    DISPLAY_NAME = "Load StyleGAN"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = "Loads a StyleGAN2 generator, or a customised model together with the model it was made from."
    SEARCH_ALIASES = ("gan", "stylegan2", "generator", "load model", "checkpoint")
    RETURN_TYPES = (MODEL,)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The generator, with its discriminator if the file has one.",)
    FUNCTION = "load"
    TOOLTIP = "Files of models/stylegan, saved customised models [output], models that the pack brings [bundled]."
    INPUT_TYPES = ui.inputs(model_name=model_files.choice(model_files.generators, TOOLTIP))
    IS_CHANGED = model_files.changes_of(model_files.generators, "model_name")

    @classmethod
    def VALIDATE_INPUTS(cls, model_name):
        remedy = "Put the file into models/stylegan and refresh the node list (R)."
        return model_files.listed(model_files.generators(), model_name, remedy, problem=model_files.file_problem)

    def load(self, model_name):
        with host.training_mode():
            return (model_files.load_generator(model_files.pick(model_files.generators(), model_name)),)


class LoadPhotoSketch:
    DISPLAY_NAME = "Load PhotoSketch"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = "Loads the network that turns photos into line drawings, so that they can be compared with sketches."
    SEARCH_ALIASES = ("photo to sketch", "line art", "lineart", "edge", "sketcher")
    RETURN_TYPES = (ui.PHOTOSKETCH,)
    RETURN_NAMES = ("photosketch",)
    OUTPUT_TOOLTIPS = ("The photo-to-sketch network.",)
    FUNCTION = "load"
    TOOLTIP = "The bundled network, files of models/photosketch, or a plain outline filter that needs no file."
    INPUT_TYPES = ui.inputs(network=model_files.choice(lambda: [*model_files.sketchers(), LINE_EXTRACTOR], TOOLTIP))
    IS_CHANGED = model_files.changes_of(model_files.sketchers, "network")

    @classmethod
    def VALIDATE_INPUTS(cls, network):
        remedy = f'Put the file into models/photosketch and refresh the node list (R), or choose "{LINE_EXTRACTOR}".'
        return network == LINE_EXTRACTOR or model_files.listed(model_files.sketchers(), network, remedy)

    def load(self, network):
        with host.training_mode():
            if network == LINE_EXTRACTOR:
                return (LineExtractor(),)
            return (load_photosketch(model_files.pick(model_files.sketchers(), network)),)


class LoadSketches:
    DISPLAY_NAME = "Load Sketches"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = "Loads a folder of sketches that you drew, or a single one, as a batch of squares, black on white."
    SEARCH_ALIASES = ("drawings", "image folder", "load images", "batch")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sketches",)
    OUTPUT_TOOLTIPS = ("The sketches, black lines on white paper.",)
    FUNCTION = "load"
    FOLDER = (
        "A folder or a picture of ComfyUI's input folder, a folder of its datasets [datasets], or samples [bundled]."
    )
    INPUT_TYPES = ui.inputs(
        folder=model_files.choice(model_files.drawings, FOLDER),
        limit=ui.integer(0, 0, 1000, "Load only the first drawings, in order of their names. 0: all."),
        size=ui.advanced(ui.integer(256, 32, 1024, "Side of the square sketches in pixels.", step=32)),
    )
    IS_CHANGED = model_files.changes_of(model_files.drawings, "folder")

    @classmethod
    def VALIDATE_INPUTS(cls, folder):
        return model_files.pictures_listed(model_files.drawings(), folder, "drawings")

    def load(self, folder, limit, size):
        path = model_files.pick(model_files.drawings(), folder)
        names = image_names(path)[: limit or None]
        return (to_comfy(as_sketches(load_images(path, names), size)),)


class LoadPhotos:
    DISPLAY_NAME = "Load Photos"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = "Loads the photos of a folder, or a single one, as one batch of square images."
    SEARCH_ALIASES = ("image folder", "load images", "batch", "pictures")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    OUTPUT_TOOLTIPS = ("The photos, cropped to squares about their middle.",)
    FUNCTION = "load"
    SOURCE = (
        "A folder or a picture of ComfyUI's input folder, a folder of its datasets [datasets], or samples [bundled]."
    )
    INPUT_TYPES = ui.inputs(
        source=model_files.choice(model_files.photos, SOURCE),
        limit=ui.integer(0, 0, 10_000, "Load only the first photos, in order of their names. 0: all."),
        size=ui.advanced(ui.integer(256, 32, 1024, "Side of the square images in pixels.", step=32)),
    )
    IS_CHANGED = model_files.changes_of(model_files.photos, "source")

    @classmethod
    def VALIDATE_INPUTS(cls, source):
        return model_files.pictures_listed(model_files.photos(), source, "photos")

    def load(self, source, limit, size):
        path = model_files.pick(model_files.photos(), source)
        photos = ImageSet(path, size, names=image_names(path)[: limit or None])
        return (to_comfy(photos.batch(range(len(photos)))),)


class SaveCustomisedModel:
    DISPLAY_NAME = "Save Customised GAN"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = "Saves what training with sketches changed as a small file, which Load StyleGAN lists."
    SEARCH_ALIASES = ("save model", "export", "checkpoint", "delta")
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "A customised model, such as one from Train with Sketches."),
        name=model_files.name_widget("customised"),
    )

    def save(self, model, name):
        if weights_hash(model) == model.base_hash:
            raise ValueError(f'"{model.name}" is an original model: nothing to save. Connect a customised one.')
        settings = json.loads(model.metadata.get("settings", "{}"))
        trainable = model.metadata.get("trainable", "mapping")
        write = partial(save_customised, model, trainable=trainable, settings=settings)
        return model_files.save(name, "", write, f"customised from {model.metadata.get('base_name', 'its base')}")
