from argparse import ArgumentParser, Namespace
from pathlib import Path

import torch
from einops import rearrange

from ..images import grid, resize, save_png
from ..inversion.bridging import BridgeConfig, BridgeFitter
from ..latents.bridge import LatentBridge, cross
from ..latents.latent_files import load_bridge, load_latents, save_latents
from ..latents.sampling import render
from ..latents.spaces import Latents
from ..networks.stylegan2 import GanModel
from .arguments import MODEL_HELP, add_base, load_generator
from .flags import parse
from .progress import run_search


def bridge(parser: ArgumentParser, argv: list[str]) -> None:
    """Fit a bridge from the latents of one model to those of another, and measure it on latents that it has not seen;
    with --latents, take saved latents across. Ctrl-C fits to the pairs so far; the same command goes on from them."""
    add = parser.add_argument
    add("source", help=f"{MODEL_HELP}, or a customised one: where latents come from")
    add("target", help="the same: where they go")
    add("--load", type=Path, metavar="FILE", help="a bridge fitted before, instead of fitting one")
    add("--output", type=Path, default=Path("bridge.safetensors"), metavar="FILE", help="the bridge")
    add("--latents", type=Path, metavar="FILE", help="saved latents of the source, to take across")
    add("--crossed", type=Path, default=Path("crossed.safetensors"), metavar="FILE", help="these latents of the target")
    add("--picture", type=Path, metavar="FILE", help="PNG: images of --latents, before and after, in turn")
    add_base(parser)
    args, config = parse(parser, argv, BridgeConfig, "fit")

    if args.output.suffix != ".safetensors":
        raise ValueError(f"--output {args.output}: a bridge is written as .safetensors")
    if args.load is not None and args.latents is None:
        raise ValueError("--load needs --latents: the latents to take across")
    latents = None if args.latents is None else load_latents(args.latents)
    source = load_generator(args.source, args.base, args.device)
    target = load_generator(args.target, args.base, args.device)
    fitted = load_bridge(args.load) if args.load is not None else _fit(source, target, config, args.output)
    if latents is not None:
        crossed = cross(fitted, source, target, latents)
        save_latents(crossed, args.crossed)
        print(args.crossed)
        if args.picture is not None:
            _save_picture(source, target, latents, crossed, args)


def _fit(source: GanModel, target: GanModel, config: BridgeConfig, output: Path) -> LatentBridge:
    search = BridgeFitter(source, target, config, keep=output)
    run_search(search)
    fitted, report = search.result()
    print(f"{report}\n{output}")
    return fitted


def _save_picture(source: GanModel, target: GanModel, latents: Latents, crossed: Latents, args: Namespace) -> None:
    before = resize(render(source, latents), target.config.resolution)
    pairs = rearrange(torch.stack([before, render(target, crossed)]), "pair n c h w -> (n pair) c h w")
    save_png(grid(pairs, 8), args.picture)
    print(f"{args.picture} (before and after in turn)")
