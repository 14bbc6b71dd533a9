"""Flags that several commands share, and loading what they name: device, model, sketcher, pictures."""

from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from ..checkpoints.load import load_base, load_customised, load_model, load_photosketch
from ..checkpoints.summary import FileSummary, summarise
from ..datasets import load_images
from ..latents.sampling import sample_drawings
from ..networks.line_extractor import LineExtractor
from ..networks.stylegan2 import GanModel
from ..sketches.prepare import SketchConfig, prepare_sketches
from .pack import find_file, pack_root

LINES = "lines"
MODEL_HELP = "model file, or the name of a bundled model"
SKETCHER_HELP = f'photo-to-sketch network: a file, the name of a bundled one, or "{LINES}" for a filter without weights'


def add_device(parser: ArgumentParser) -> None:
    parser.add_argument("--device", type=_device, default="auto", metavar="DEVICE", help="cpu, cuda, cuda:1 ...")


def _device(name: str) -> torch.device:
    automatic = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(automatic if name == "auto" else name)


def add_model(parser: ArgumentParser) -> None:
    parser.add_argument("--model", default="fruit", metavar="MODEL", help=MODEL_HELP)
    add_base(parser)


def add_base(parser: ArgumentParser) -> None:
    """The flags that belong to any model: the model it was made from, its class, and the device."""
    parser.add_argument("--base", metavar="MODEL", help="for a customised model: the one it was made from")
    parser.add_argument("--label", type=int, metavar="N", help="class, for class-conditional models")
    add_device(parser)


def load_generator(name: str, base: str | None, device: torch.device) -> GanModel:
    """A whole model, or a customised one on its base: `base`, else the bundled model it was made from."""
    path = find_file(name, "weights", ".safetensors")
    summary = summarise(path) if path.suffix == ".safetensors" else None
    if summary is None or summary.kind != "customised":
        model = load_model(path)
    elif base is not None:
        model = load_customised(path, load_generator(base, None, torch.device("cpu")))
    else:
        model = load_customised(path, _bundled_base(path, summary))
    model.generator.to(device)
    if model.discriminator is not None:
        model.discriminator.to(device)
    return replace(model, w_mean=model.w_mean.to(device), details=model.details and model.details.to(device))


def load_original(name: str, base: str | None, device: torch.device) -> GanModel | None:
    """The model that `name` was customised from: `base`, else the bundled one that a customised file names."""
    if base is not None:
        return load_generator(base, None, device)
    path = find_file(name, "weights", ".safetensors")
    summary = summarise(path) if path.suffix == ".safetensors" else None
    if summary is None or summary.kind != "customised":
        return None
    original = _bundled_base(path, summary)
    original.generator.to(device)
    return replace(original, discriminator=None, w_mean=original.w_mean.to(device))


def _bundled_base(path: Path, summary: FileSummary) -> GanModel:
    base = load_base(summary, sorted((pack_root() / "weights").glob("*.safetensors")))
    if base is None:
        name = summary.base_name
        raise ValueError(
            f'{path} was customised from "{name}", which is not bundled: give that model\'s file with --base'
        )
    return base


def load_sketcher(name: str, device: torch.device) -> nn.Module:
    """The network of --sketcher."""
    if name == LINES:
        return LineExtractor().to(device)
    return load_photosketch(find_file(name, "weights", ".safetensors")).to(device)


def load_sketches(
    args: Namespace, model: GanModel, config: SketchConfig, label: int | None
) -> tuple[nn.Module, Tensor]:
    """The network of --sketcher, and the drawings of --sketches as sketches [N,1,R,R] for `model`."""
    sketcher = load_sketcher(args.sketcher, model.w_mean.device)
    reference = sample_drawings(model, sketcher, label=label) if config.strokes == "match" else None
    pictures = [image for path in args.sketches for image in load_images(path)]
    return sketcher, prepare_sketches(pictures, model.config.resolution, config, reference=reference)
