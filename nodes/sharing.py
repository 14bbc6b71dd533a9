"""Sharing: models as files for other programs, and as a web page."""

import logging
from pathlib import Path

import torch

from ..gansketching_core.checkpoints.export import export_gansketching, export_rosinality
from ..gansketching_core.checkpoints.onnx_export import OnnxConfig, export_onnx, require_onnx
from ..gansketching_core.gallery.gallery import GalleryConfig, write_gallery
from ..gansketching_core.options import build
from . import host, model_files
from . import widgets as ui
from .widgets import DIRECTIONS, MODEL

ENDS = {"onnx": ".onnx", "rosinality": ".pt", "gansketching": "_netG.pth"}  # format: end of the file's name
FORMAT = (
    "onnx: for onnxruntime and other programs without PyTorch; needs the package onnx. rosinality: .pt, for editors "
    "built on that StyleGAN2. gansketching: netG.pth and netD.pth of the method's authors."
)


def _saved(path: Path, contents: str) -> dict:
    text = f"Saved {path.relative_to(model_files.results_folder())}, {contents}"
    logging.getLogger(__name__).info(text)
    return {"ui": {"text": [text]}}


class ExportModel:
    DISPLAY_NAME = "Export GAN"
    CATEGORY = "GANSketching/sharing"
    DESCRIPTION = "Writes a model for other programs, into output/gansketching/exports: ONNX, .pt or .pth."
    SEARCH_ALIASES = ("onnx", "rosinality", "pt", "pth", "pkl", "pickle", "convert", "save model", "netG")
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "export"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The model to write, original or customised."),
        name=model_files.name_widget("exported"),
        format=ui.one_of(ENDS, "onnx", FORMAT),
        dtype=ui.one_of(("float32", "float16"), "float32", "How weights are stored; float16 halves the file."),
        **ui.widgets(OnnxConfig),
    )

    @classmethod
    def VALIDATE_INPUTS(cls, format):
        return ui.check(lambda chosen: chosen == "onnx" and require_onnx(), format)

    def export(self, model, name, format, dtype, **options):
        path = model_files.new_result(name, model_files.EXPORTS, ENDS[format])
        weights = getattr(torch, dtype)
        note = ""
        if format == "onnx":
            export_onnx(model, path, build(OnnxConfig, **options), dtype=weights)
        else:
            note = (export_rosinality if format == "rosinality" else export_gansketching)(model, path, dtype=weights)
        return _saved(path, f"{path.stat().st_size / 1e6:.1f} MB. {note}".strip())


class SaveWebPage:
    DISPLAY_NAME = "Save GAN Web Page"
    CATEGORY = "GANSketching/sharing"
    DESCRIPTION = "Writes a folder with a web page that shows the model with sliders, to open without any program."
    SEARCH_ALIASES = ("gallery", "html", "browser", "share", "show", "demo", "export")
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "save"
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The model to show, original or customised."),
        name=model_files.name_widget("page"),
        **ui.widgets(GalleryConfig, skip=("seed",)),
        seed=ui.seed(changes=False, tooltip="Seed of the samples."),
        class_index=ui.class_index("an error, because a page shows one class"),
        optional={
            "original": ui.socket(MODEL, "The model it was customised from: a slider changes the sketch strength."),
            "fitted": ui.socket(DIRECTIONS, "Directions for the sliders. Without them, they are fitted here."),
        },
    )

    def save(self, model, name, class_index, original=None, fitted=None, **options):
        config = build(GalleryConfig, **options)
        folder = model_files.new_result(name, model_files.PAGES, "")
        progress = host.Progress(1)

        def on_batch(done: int, of: int) -> None:
            progress.total = of
            progress.on_batch(done)

        inputs = {"original": original, "directions": fitted, "label": ui.or_none(class_index)}
        page = write_gallery(model, folder, config, **inputs, on_batch=on_batch)
        return _saved(page.index, f"{page.size / 1e6:.1f} MB: open it in a browser.")
