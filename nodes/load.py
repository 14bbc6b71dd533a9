"""Loading: generators, photo-to-sketch networks, drawings, photos. Saving: customised models."""

from __future__ import annotations

import json

from ..gansketching_core.checkpoints.hashes import weights_hash
from ..gansketching_core.checkpoints.load import load_photosketch
from ..gansketching_core.checkpoints.native import save_customised
from ..gansketching_core.datasets import ImageSet, image_names, load_images
from ..gansketching_core.images import to_comfy
from ..gansketching_core.networks.line_extractor import LineExtractor
from . import host, model_files
from .sketching import as_sketches

LINE_EXTRACTOR = "line extractor (no weights)"


class LoadStyleGAN:
    DISPLAY_NAME = "Load StyleGAN"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = "Loads a StyleGAN2 generator, or a customised model together with the model it was made from."
    SEARCH_ALIASES = ("gan", "stylegan2", "generator", "load model", "checkpoint")
    RETURN_TYPES = ("GANSKETCHING_MODEL",)
    RETURN_NAMES = ("model",)
    OUTPUT_TOOLTIPS = ("The generator, with its discriminator if the file has one.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        tooltip = "Files of models/stylegan, saved customised models [output], models that the pack brings [bundled]."
        return {"required": {"model_name": model_files.choice(model_files.generators(), tooltip)}}

    @classmethod
    def VALIDATE_INPUTS(cls, model_name):
        remedy = "Put the file into models/stylegan and refresh the node list (R)."
        return model_files.listed(model_files.generators(), model_name, remedy, problem=model_files.file_problem)

    @classmethod
    def IS_CHANGED(cls, model_name):
        return model_files.version(model_files.generators(), model_name)

    def load(self, model_name):
        with host.training_mode():
            return (model_files.load_generator(model_files.pick(model_files.generators(), model_name)),)


class LoadPhotoSketch:
    DISPLAY_NAME = "Load PhotoSketch"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = "Loads the network that turns photos into line drawings, so that they can be compared with sketches."
    SEARCH_ALIASES = ("photo to sketch", "line art", "lineart", "edge", "sketcher")
    RETURN_TYPES = ("GANSKETCHING_PHOTOSKETCH",)
    RETURN_NAMES = ("photosketch",)
    OUTPUT_TOOLTIPS = ("The photo-to-sketch network.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        tooltip = "The bundled network, files of models/photosketch, or a plain outline filter that needs no file."
        return {"required": {"network": model_files.choice([*model_files.sketchers(), LINE_EXTRACTOR], tooltip)}}

    @classmethod
    def VALIDATE_INPUTS(cls, network):
        remedy = f'Put the file into models/photosketch and refresh the node list (R), or choose "{LINE_EXTRACTOR}".'
        return network == LINE_EXTRACTOR or model_files.listed(model_files.sketchers(), network, remedy)

    @classmethod
    def IS_CHANGED(cls, network):
        return model_files.version(model_files.sketchers(), network)

    def load(self, network):
        with host.training_mode():
            if network == LINE_EXTRACTOR:
                return (LineExtractor(),)
            return (load_photosketch(model_files.pick(model_files.sketchers(), network)),)


class LoadSketches:
    DISPLAY_NAME = "Load Sketches"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = "Loads the drawings of a folder as one batch of square sketches, black on white, not stretched."
    SEARCH_ALIASES = ("drawings", "image folder", "load images", "batch")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("sketches",)
    OUTPUT_TOOLTIPS = ("The sketches, black lines on white paper.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        folder = "A subfolder of ComfyUI's input folder with one or more drawings, or one of the bundled samples."
        limit = "Load only the first drawings, in order of their names. 0: all."
        size = "Side of the square sketches in pixels. Fine-tuning scales them to the model's size."
        inputs = {
            "folder": model_files.choice(model_files.drawings(), folder),
            "limit": ("INT", {"default": 0, "min": 0, "max": 1000, "tooltip": limit}),
            "size": ("INT", {"default": 256, "min": 32, "max": 1024, "step": 32, "tooltip": size}),
        }
        return {"required": inputs}

    @classmethod
    def VALIDATE_INPUTS(cls, folder):
        remedy = "Make a folder with drawings inside ComfyUI's input folder and refresh the node list (R)."
        return model_files.listed(model_files.drawings(), folder, remedy)

    @classmethod
    def IS_CHANGED(cls, folder, limit=0, size=0):
        return model_files.version(model_files.drawings(), folder)

    def load(self, folder, limit, size):
        path = model_files.pick(model_files.drawings(), folder)
        names = image_names(path)[: limit or None]
        return (to_comfy(as_sketches(load_images(path, names), size)),)


class LoadPhotos:
    DISPLAY_NAME = "Load Photos"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = "Loads the photos of a folder, or one of the photos of this pack, as one batch of square images."
    SEARCH_ALIASES = ("image folder", "load images", "batch", "pictures")
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    OUTPUT_TOOLTIPS = ("The photos, cropped to squares about their middle.",)
    FUNCTION = "load"

    @classmethod
    def INPUT_TYPES(cls):
        source = "A subfolder of ComfyUI's input folder, or the photos that come with the pack [bundled]."
        limit = "Load only the first photos, in order of their names. 0: all."
        size = "Side of the square images in pixels. Nodes that use them scale them to the model's size."
        inputs = {
            "source": model_files.choice(model_files.photos(), source),
            "limit": ("INT", {"default": 0, "min": 0, "max": 10_000, "tooltip": limit}),
            "size": ("INT", {"default": 256, "min": 32, "max": 1024, "step": 32, "tooltip": size}),
        }
        return {"required": inputs}

    @classmethod
    def VALIDATE_INPUTS(cls, source):
        remedy = "Make a folder with photos inside ComfyUI's input folder and refresh the node list (R)."
        return model_files.listed(model_files.photos(), source, remedy)

    @classmethod
    def IS_CHANGED(cls, source, limit=0, size=0):
        return model_files.version(model_files.photos(), source)

    def load(self, source, limit, size):
        path = model_files.pick(model_files.photos(), source)
        photos = ImageSet(path, size, names=image_names(path)[: limit or None])
        return (to_comfy(photos.batch(range(len(photos)))),)


class SaveCustomisedModel:
    DISPLAY_NAME = "Save Customised Model"
    CATEGORY = "GANSketching/loaders"
    DESCRIPTION = "Saves what customising changed as a small file, which Load StyleGAN lists."
    SEARCH_ALIASES = ("save model", "export", "checkpoint", "delta")
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save"

    @classmethod
    def INPUT_TYPES(cls):
        model = ("GANSKETCHING_MODEL", {"tooltip": "A customised model, such as one from Fine-tune Mapping."})
        return {"required": {"model": model, "name": model_files.name_widget("customised")}}

    def save(self, model, name):
        if weights_hash(model) == model.base_hash:
            raise ValueError(f'"{model.name}" is an original model: nothing to save. Connect a customised one.')
        path = model_files.new_result(name)
        settings = json.loads(model.metadata.get("settings", "{}"))
        save_customised(model, path, trainable=model.metadata.get("trainable", "mapping"), settings=settings)
        return model_files.saved(path, f"{path.stat().st_size / 2**20:.2f} MB")
