"""The `gansketching` command: runs the chosen command and reports errors in one line.

A command is a function (parser, argv) in the file of its name beside this one: it adds its flags to the parser, parses
argv and does the work. Its docstring is its help. To add a command, write the file and list it in COMMANDS.
"""

import argparse
import importlib
import logging
import os
import sys
import traceback
from importlib import metadata
from typing import NoReturn

# Command -> one line of help. Modules are imported on use, so that --help need not wait for torch.
COMMANDS: dict[str, str] = {
    "run": "execute a ComfyUI workflow (API format) without ComfyUI",
    "finetune": "customise a generator with one or a few sketches",
    "sample": "generate images",
    "sketch": "turn photos into line drawings",
    "project": "find the latents that reproduce photos",
    "project-sketch": "find images that look like a sketch",
    "interpolate": "mix two models, or film one turning into the other",
    "compose": "mix several customised models, each with a weight",
    "bridge": "take latents from one model to another",
    "directions": "find the main directions of variation (GANSpace)",
    "animate": "film a walk through latents, or along a direction",
    "info": "describe a model file",
    "convert": "write a model file as .safetensors, or for other programs (ONNX, .pt, .pth)",
    "gallery": "write a web page that shows a model, to open without a server",
    "download": "list or download models of others",
    "pretrain": "train a StyleGAN2 from scratch on a folder of images",
    "pretrain-sketcher": "train a small photo-to-sketch network",
    "evaluate": "compare a model with photos or sketches",
    "study": "measure the method against baselines and ablations",
    "bench": "measure seconds and memory of training and sampling",
}


class HelpFormatter(argparse.HelpFormatter):
    """Shows the default of every option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        default = " ".join(map(str, action.default)) if isinstance(action.default, list) else str(action.default)
        if default in ("", "None", "False", argparse.SUPPRESS) or "(default" in text:
            return text
        return f"{text} (default: {default})"


class Parser(argparse.ArgumentParser):
    """Reports errors in one line, without the usage message of a dozen lines."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def main(argv: list[str] | None = None) -> int:
    """Run one command -> exit status: 0, 2 for a user error, 1 for any other error, 130 after Ctrl-C."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    try:
        if not argv or argv[0] not in COMMANDS:
            _top_level(argv)
        else:
            _run(argv[0], argv[1:])
        return 0
    except KeyboardInterrupt:
        return _stop(debug, 130, "stopped")
    except (ValueError, OSError) as error:
        return _stop(debug, 2, f"error: {error}")
    except Exception as error:
        detail = str(error) or type(error).__name__
        return _stop(debug, 1, f"error: {detail} (--debug shows the traceback)")


def _run(name: str, argv: list[str]) -> None:
    # Read when torch is loaded. Threads that wait for others do so busily for about 0.1 ms (GNU's OpenMP; others: not
    # at all) and then sleep, instead of taking their processor; figures are in docs/performance.md.
    if os.environ.setdefault("OMP_WAIT_POLICY", "passive") == "passive":
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    module = name.replace("-", "_")
    command = getattr(importlib.import_module(f".{module}", __package__), module)
    parser = Parser(prog=f"gansketching {name}", description=command.__doc__, formatter_class=HelpFormatter)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command(parser, argv)


def _stop(debug: bool, code: int, message: str) -> int:
    if debug:
        traceback.print_exc()
    print(f"gansketching: {message}", file=sys.stderr)
    return code


def _top_level(argv: list[str]) -> None:
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{line}" for name, line in COMMANDS.items())
    parser = Parser(
        prog="gansketching",
        description="Customise a StyleGAN2 with hand-drawn sketches.",
        epilog=f"commands:\n{commands}\n\ngansketching COMMAND --help shows the options of one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS, help="what to do")
    parser.add_argument("--version", action="version", version=f"gansketching {_version()}")
    if argv:
        parser.parse_args(argv)
    parser.print_help()


def _version() -> str:
    try:
        return metadata.version("gansketching")
    except metadata.PackageNotFoundError:
        return "(not installed)"
