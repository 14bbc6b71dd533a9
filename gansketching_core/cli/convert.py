from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch

from ..checkpoints.export import export_gansketching, export_rosinality
from ..checkpoints.load import load_photosketch
from ..checkpoints.native import save_model, save_photosketch
from ..checkpoints.onnx_export import OnnxConfig, export_onnx, onnx_difference
from ..checkpoints.summary import kind_of
from .arguments import load_generator
from .flags import parse
from .pack import find_file

FILES = {"safetensors": ".safetensors", "onnx": ".onnx", "rosinality": ".pt", "gansketching": "netG.pth"}  # format: end


def convert(parser: ArgumentParser, argv: list[str]) -> None:
    """Write a model file of any supported format as .safetensors, which loads faster and carries no code; or for other
    programs: as .onnx, as rosinality's .pt, or as GANSketching's netG.pth and netD.pth. NVIDIA's .pkl is read but never
    written: opening a pickle can run any program."""
    add = parser.add_argument
    add("source", help="model file, or the name of a bundled model")
    add("target", nargs="?", type=Path, help="file to write (default: the source's name with the format's end)")
    add("--to", choices=FILES, help="format (default: by the target's end)")
    add("--base", metavar="MODEL", help="for a customised model: the one it was made from")
    add("--dtype", choices=["float32", "float16", "bfloat16"], default="float32", help="how weights are stored")
    args, config = parse(parser, argv, OnnxConfig, "ONNX")

    kind, target, dtype = *_format(args), getattr(torch, args.dtype)
    path = find_file(args.source, "weights", ".safetensors")
    if kind_of(path) == "photosketch":
        if kind != "safetensors":
            raise ValueError(f"{path} is a PhotoSketch network, which is written as .safetensors only")
        save_photosketch(load_photosketch(path), target, dtype=dtype)
        note = ""
    else:
        model = load_generator(args.source, args.base, torch.device("cpu"))
        if kind == "safetensors":
            note = save_model(model, target, dtype=dtype)
        elif kind == "onnx":
            export_onnx(model, target, config, dtype=dtype)
            difference = onnx_difference(model, target, config)
            note = difference is not None and f"In onnxruntime it differs from the model by at most {difference:.1g}."
        else:
            export = export_rosinality if kind == "rosinality" else export_gansketching
            note = export(model, target, dtype=dtype)
    print(f"{target} ({target.stat().st_size / 1e6:.1f} MB)")
    if note:
        print(note)


def _format(args: Namespace) -> tuple[str, Path]:
    """The format and the file that the arguments ask for."""
    target = args.target or Path(Path(args.source).stem + FILES[args.to or "safetensors"])
    if target.suffix == ".pkl":
        raise ValueError(
            f"{target}: pickles are never written, because opening one can run any program; choose "
            f"{', '.join(f'{end} ({name})' for name, end in FILES.items())}"
        )
    end = "netG.pth" if target.suffix == ".pth" else target.suffix
    kind = next((name for name in FILES if FILES[name] == end), None)
    if kind is None or args.to not in (None, kind):
        ends = FILES[args.to] if args.to else ", ".join(FILES.values())
        raise ValueError(f"{target}: models{f' for {args.to}' if args.to else ''} are written as {ends}")
    return kind, target
