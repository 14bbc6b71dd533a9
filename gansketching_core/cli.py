"""The `gansketching` command: the composition root, and with its cli_* modules the only place that prints.

A command is a function (parser, argv): it adds its flags to the parser, parses argv and does the work. To add one,
write the function in a cli_* module and name it in COMMANDS; its docstring is its help.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
import traceback
from importlib import metadata
from typing import NoReturn

# command -> (module, function, one line of help). Modules are imported when needed: --help must not wait for torch.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "run": ("cli_run", "run", "execute a ComfyUI workflow (API format) without ComfyUI"),
    "finetune": ("cli_models", "finetune", "customise a generator with one or a few sketches"),
    "sample": ("cli_models", "sample", "generate images"),
    "sketch": ("cli_models", "sketch", "turn photos into line drawings"),
    "project": ("cli_edit", "project", "find the latents of photos"),
    "project-sketch": ("cli_edit", "project_sketch", "find images that look like a sketch"),
    "interpolate": ("cli_edit", "interpolate", "mix two models, or film one turning into the other"),
    "directions": ("cli_edit", "directions", "find what a model can vary (GANSpace)"),
    "animate": ("cli_edit", "animate", "film a walk through latents, or along a direction"),
    "info": ("cli_models", "info", "say what a model file is"),
    "convert": ("cli_models", "convert", "write any supported model file as .safetensors"),
    "download": ("cli_download", "download", "list models that others offer, and get one"),
    "pretrain": ("cli_training", "pretrain", "train a StyleGAN2 from scratch on a folder of images"),
    "pretrain-sketcher": ("cli_training", "pretrain_sketcher", "train a small photo-to-sketch network"),
    "evaluate": ("cli_evaluate", "evaluate", "say how good a model is, beside photos or sketches"),
    "study": ("cli_study", "study", "measure the method against baselines and ablations"),
    "bench": ("cli_training", "bench", "measure seconds and memory of training and sampling"),
}


class Parser(argparse.ArgumentParser):
    """Says in one line what is wrong, without the usage of a dozen lines."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (see {self.prog} --help)")


def main(argv: list[str] | None = None) -> int:
    """Run one command. -> 0, 2 for a mistake of the user's, 1 for any other error, 130 after Ctrl-C."""
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
        return _stop(debug, 1, f"error: {detail} (--debug shows where)")


def _run(name: str, argv: list[str]) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    module, function, _ = COMMANDS[name]
    command = getattr(importlib.import_module(f".{module}", __package__), function)
    parser = Parser(prog=f"gansketching {name}", description=command.__doc__)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command(parser, argv)


def _stop(debug: bool, code: int, message: str) -> int:
    if debug:
        traceback.print_exc()
    print(f"gansketching: {message}", file=sys.stderr)
    return code


def _top_level(argv: list[str]) -> None:
    width = max(map(len, COMMANDS)) + 2
    commands = "\n".join(f"  {name:<{width}}{line}" for name, (_, _, line) in COMMANDS.items())
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


if __name__ == "__main__":
    sys.exit(main())
