"""Stand-ins for the few of ComfyUI's own nodes that shipped workflows use, for runs without ComfyUI.

Inputs, outputs, defaults and file names are ComfyUI's. They are never registered inside ComfyUI.
"""

import json
import re
import sys
import time
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import torch
from PIL import Image, ImageOps, ImageSequence
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ...gansketching_core.datasets import IMAGE_ENDINGS
from ...gansketching_core.images import open_image
from .. import host
from .. import widgets as ui

MAX_RESOLUTION = 16384
IMAGE = ("IMAGE", {})
PREFIX = ("STRING", {"default": "ComfyUI"})
METADATA = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
WEBP_METHODS = {"default": 4, "fastest": 0, "slowest": 6}


def checked_name(name: str) -> str:
    """The name itself, if it is relative and stays inside its folder: workflows come from strangers."""
    if PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive or name.startswith("\\"):
        raise ValueError(f'"{name}" is an absolute path: use a name inside the folder')
    if ".." in re.split(r"[/\\]", name) or "\0" in name:
        raise ValueError(f'"{name}" leaves its folder: use a name inside it, without ".."')
    return name


def input_path(name: str) -> Path:
    """The file of a LoadImage widget: "photo.png", "folder/photo.png" or "photo.png [output]"."""
    plain, folder = re.fullmatch(r"(.*?)(?: \[(input|output|temp)\])?", str(name), re.DOTALL).groups()
    path = host.folder(folder or "input") / checked_name(plain)
    if not path.is_file():
        raise ValueError(f'there is no image "{name}" in {host.folder("input")}')
    return path


def save_path(prefix: str, kind: str, size: tuple[int, int]) -> tuple[Path, str, str, int]:
    """-> (folder, subfolder, file name start, first free number) for a filename_prefix such as "fruit/%width%"."""
    formats = {"year": "%Y", "month": "%m", "day": "%d", "hour": "%H", "minute": "%M", "second": "%S"}
    fields = {name: time.strftime(code) for name, code in formats.items()}
    fields |= {"width": str(size[0]), "height": str(size[1])}
    prefix = checked_name(re.sub(r"%(\w+)%", lambda match: fields.get(match[1], match[0]), prefix))
    inside = PurePosixPath(prefix.replace("\\", "/"))
    subfolder = "" if inside.parent == PurePosixPath(".") else str(inside.parent)
    folder = host.folder(kind) / subfolder
    folder.mkdir(parents=True, exist_ok=True)
    return folder, subfolder, inside.name, host.free_number(folder, rf"{re.escape(inside.name)}_(\d+)")


def _input_pictures() -> ui.Widget:
    return list(host.files_below(host.folder("input"), IMAGE_ENDINGS)), {}


def _pictures(images: Tensor) -> list[Image.Image]:
    """IMAGE [B,H,W,C] in 0..1 -> pictures."""
    return [Image.fromarray(np.clip(x.cpu().numpy() * 255.0, 0, 255).astype(np.uint8)) for x in images]


def _frames(name: str) -> list[Image.Image]:
    """The frames of a picture that have the size of the first, turned upright."""
    with open_image(input_path(name), name) as file:
        frames = [ImageOps.exif_transpose(frame.copy()) for frame in ImageSequence.Iterator(file)]
    return [frame for frame in frames if frame.size == frames[0].size]


class LoadImage:
    """A picture of the input folder as IMAGE and (1 - alpha) as MASK."""

    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "load"
    EDITOR_ONLY_INPUTS = ("upload",)
    INPUT_TYPES = ui.inputs(image=_input_pictures)

    @staticmethod
    def VALIDATE_INPUTS(image):
        return ui.check(input_path, image)

    def load(self, image: str):
        pictures = []
        masks = []
        for frame in _frames(image):
            if frame.mode == "I":
                frame = frame.point(lambda v: v * (1 / 255))
            mask = torch.zeros(64, 64)  # ComfyUI's mask of a picture without transparency
            if "A" in frame.getbands() or "transparency" in frame.info:
                alpha = np.asarray(frame.convert("RGBA").getchannel("A"), np.float32) / 255
                mask = 1 - torch.from_numpy(alpha)
            masks.append(mask)
            pictures.append(torch.from_numpy(np.asarray(frame.convert("RGB"), np.float32) / 255))
        return torch.stack(pictures), torch.stack(masks)


class LoadImageMask:
    """One channel of a picture of the input folder as MASK."""

    RETURN_TYPES = ("MASK",)
    FUNCTION = "load"
    EDITOR_ONLY_INPUTS = ("upload",)
    INPUT_TYPES = ui.inputs(image=_input_pictures, channel=(["alpha", "red", "green", "blue"], {}))
    VALIDATE_INPUTS = LoadImage.VALIDATE_INPUTS

    def load(self, image: str, channel: str):
        frame = _frames(image)[0].convert("RGBA")
        values = torch.from_numpy(np.asarray(frame.getchannel(channel[0].upper()), np.float32) / 255)
        return ((1 - values if channel == "alpha" else values)[None],)


class SaveImage:
    """Saves PNG files with the workflow in their metadata, in the output folder."""

    INPUT_TYPES = ui.inputs(images=IMAGE, filename_prefix=PREFIX, hidden=METADATA)
    RETURN_TYPES = ()
    FUNCTION = "save"
    OUTPUT_NODE = True
    KIND = "output"

    @staticmethod
    def VALIDATE_INPUTS(filename_prefix="ComfyUI"):
        return ui.check(checked_name, filename_prefix)

    def save(self, images: Tensor, filename_prefix: str = "ComfyUI", prompt=None, extra_pnginfo=None):
        pictures = _pictures(images)
        folder, subfolder, start, number = save_path(filename_prefix, self.KIND, pictures[0].size)
        metadata = PngInfo()
        for key, value in ({"prompt": prompt} | (extra_pnginfo or {})).items():
            metadata.add_text(key, json.dumps(value))
        saved = []
        for index, picture in enumerate(pictures):
            name = f"{start.replace('%batch_num%', str(index))}_{number + index:05}_.png"
            picture.save(folder / name, pnginfo=metadata, compress_level=4)
            saved.append({"filename": name, "subfolder": subfolder, "type": self.KIND})
        return {"ui": {"images": saved}}


class PreviewImage(SaveImage):
    """Saves PNG files in the temporary folder."""

    INPUT_TYPES = ui.inputs(images=IMAGE, hidden=METADATA)
    KIND = "temp"

    @staticmethod
    def VALIDATE_INPUTS():
        return True

    def save(self, images: Tensor, prompt=None, extra_pnginfo=None):
        return super().save(images, "ComfyUI_temp", prompt, extra_pnginfo)


class SaveAnimatedWEBP:
    """A batch of images as one animated WEBP in the output folder."""

    INPUT_TYPES = ui.inputs(
        images=IMAGE,
        filename_prefix=PREFIX,
        fps=("FLOAT", {"default": 6.0, "min": 0.01, "max": 1000.0}),
        lossless=("BOOLEAN", {"default": True}),
        quality=("INT", {"default": 80, "min": 0, "max": 100}),
        method=(list(WEBP_METHODS), {}),
        hidden=METADATA,
    )
    RETURN_TYPES = ()
    FUNCTION = "save"
    OUTPUT_NODE = True
    VALIDATE_INPUTS = SaveImage.VALIDATE_INPUTS

    def save(self, images, filename_prefix, fps, lossless, quality, method, prompt=None, extra_pnginfo=None):
        pictures = _pictures(images)
        folder, subfolder, start, number = save_path(filename_prefix, "output", pictures[0].size)
        exif = pictures[0].getexif()
        tag = 0x0110  # ComfyUI writes the prompt to this tag, Model, and the rest to the tags below it
        for key, value in ({"prompt": prompt} | (extra_pnginfo or {})).items():
            exif[tag] = f"{key}:{json.dumps(value)}"
            tag -= 1
        name = f"{start}_{number:05}_.webp"
        options = {"duration": int(1000.0 / fps), "lossless": lossless, "quality": quality}
        options |= {"method": WEBP_METHODS[method], "exif": exif, "append_images": pictures[1:]}
        pictures[0].save(folder / name, save_all=True, **options)
        return {"ui": {"images": [{"filename": name, "subfolder": subfolder, "type": "output"}], "animated": (True,)}}


def _scale(images: Tensor, width: int, height: int, method: str, crop: str) -> Tensor:
    """[B,H,W,C] -> [B,height,width,C]; crop "center" cuts the middle out first, to the new aspect ratio."""
    _, old_height, old_width, _ = images.shape
    if crop == "center":
        x = max(0, round((old_width - old_height * width / height) / 2))
        y = max(0, round((old_height - old_width * height / width) / 2))
        images = images[:, y : old_height - y, x : old_width - x]
    if method == "lanczos":
        resized = [picture.resize((width, height), Image.Resampling.LANCZOS) for picture in _pictures(images)]
        return torch.stack([torch.from_numpy(np.asarray(p, np.float32) / 255) for p in resized])
    return torch.nn.functional.interpolate(images.movedim(-1, 1), (height, width), mode=method).movedim(1, -1)


class ImageScale:
    """Resizes images; a side of 0 keeps the aspect ratio."""

    INPUT_TYPES = ui.inputs(
        image=IMAGE,
        upscale_method=(["nearest-exact", "bilinear", "area", "bicubic", "lanczos"], {}),
        width=("INT", {"default": 512, "min": 0, "max": MAX_RESOLUTION}),
        height=("INT", {"default": 512, "min": 0, "max": MAX_RESOLUTION}),
        crop=(["disabled", "center"], {}),
    )
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "scale"

    def scale(self, image, upscale_method, width, height, crop):
        if width == height == 0:
            return (image,)
        width = width or max(1, round(image.shape[2] * height / image.shape[1]))
        height = height or max(1, round(image.shape[1] * width / image.shape[2]))
        return (_scale(image, width, height, upscale_method, crop),)


class ImageBatch:
    """Two batches as one; the second is resized to the size of the first."""

    INPUT_TYPES = ui.inputs(image1=IMAGE, image2=IMAGE)
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "join"

    def join(self, image1, image2):
        if image1.shape[1:3] != image2.shape[1:3]:
            image2 = _scale(image2, image1.shape[2], image1.shape[1], "bilinear", "center")
        return (torch.cat([image1, image2]),)


class RepeatImageBatch:
    """The batch several times over."""

    INPUT_TYPES = ui.inputs(image=IMAGE, amount=("INT", {"default": 1, "min": 1, "max": 4096}))
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "repeat"

    def repeat(self, image, amount):
        return (image.repeat(amount, 1, 1, 1),)


class ImageFromBatch:
    """Some images of a batch."""

    INPUT_TYPES = ui.inputs(
        image=IMAGE,
        batch_index=("INT", {"default": 0, "min": 0, "max": 4095}),
        length=("INT", {"default": 1, "min": 1, "max": 4096}),
    )
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "pick"

    def pick(self, image, batch_index, length):
        start = min(batch_index, len(image) - 1)
        return (image[start : start + length].clone(),)


class PreviewAny:
    """Any value as text."""

    INPUT_TYPES = ui.inputs(source=("*", {}))
    RETURN_TYPES = ()
    FUNCTION = "show"
    OUTPUT_NODE = True
    EDITOR_ONLY_INPUTS = ("preview", "preview_markdown", "preview_text", "previewMode")

    def show(self, source):
        if not isinstance(source, str):
            try:
                source = json.dumps(source)
            except (TypeError, ValueError):
                source = str(source)
        return {"ui": {"text": (source,)}}


def _primitive(kind: str, **options: int) -> type:
    """A node that outputs the value of its widget."""

    class Primitive:
        INPUT_TYPES = ui.inputs(value=(kind, options))
        RETURN_TYPES = (kind,)
        FUNCTION = "give"

        def give(self, value):
            return (value,)

    return Primitive


NODES = (LoadImage, LoadImageMask, SaveImage, PreviewImage, SaveAnimatedWEBP, PreviewAny)
NODES += (ImageScale, ImageBatch, RepeatImageBatch, ImageFromBatch)
COMFY_NODES: dict[str, type] = {node.__name__: node for node in NODES} | {
    "PrimitiveInt": _primitive("INT", min=-sys.maxsize, max=sys.maxsize),
    "PrimitiveFloat": _primitive("FLOAT", min=-sys.maxsize, max=sys.maxsize),
    "PrimitiveString": _primitive("STRING"),
    "PrimitiveStringMultiline": _primitive("STRING"),
    "PrimitiveBoolean": _primitive("BOOLEAN"),
}
