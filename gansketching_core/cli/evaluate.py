"""The command `evaluate`: samples of a model beside photos, and beside sketches."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import torch
from tqdm import tqdm

from ..datasets import ImageSet, hold_out, image_names, kind_of
from ..evaluation.classifier import fit_classifier
from ..evaluation.evaluate import evaluate_model
from ..evaluation.sketch_match import sketch_match
from ..files import atomic_write
from ..latents.sampling import render, sample_z
from ..networks.feature_networks import EXTRACTORS, OFFLINE, extract, load_extractor
from ..networks.stylegan2 import GanModel
from ..random_streams import stream
from ..sketches.prepare import prepare_sketches
from ..training.placement import placed, placement_of
from .arguments import MODEL_HELP, SKETCHER_HELP, add_device, device_of, load_generator, load_pictures, load_sketcher
from .interrupt import interruptible


def evaluate(parser: ArgumentParser, argv: list[str]) -> None:
    """Say how good a model is: its samples beside photos (Frechet distance, KID, precision and recall, path length),
    and, for a customised one, beside the sketches."""
    parser.add_argument("model", help=MODEL_HELP)
    parser.add_argument("--base", metavar="MODEL", help="the model that a customised one was made from")
    parser.add_argument("--photos", type=Path, metavar="PATH", help="folder or zip of photos to compare with")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="KIND", help="of these kinds: folders' names up to a _"
    )
    parser.add_argument("--hold-out", action="store_true", help="only the pictures that pretrain --hold-out leaves out")
    parser.add_argument("--placed", action="store_true", help="turn, shrink and move the photos as in the training")
    parser.add_argument(
        "--classes", action="store_true", help="count the kinds among the samples, by a small classifier"
    )
    parser.add_argument("--sketches", type=Path, nargs="+", default=[], metavar="PATH", help="the user's sketches")
    parser.add_argument("--sketcher", default="sketcher", metavar="NAME", help=SKETCHER_HELP)
    parser.add_argument("--extractor", choices=list(EXTRACTORS), default=OFFLINE, help=f"(default: {OFFLINE})")
    parser.add_argument("--count", type=int, default=1000, metavar="N", help="samples (default: 1000)")
    parser.add_argument(
        "--path-length", type=int, default=0, metavar="N", help="pairs for the path length (default: 0)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the samples (default: 0)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to a file as well")
    add_device(parser)
    args = parser.parse_args(argv)

    if not args.photos and not args.sketches:
        raise ValueError("there is nothing to compare with: give --photos, --sketches or both")
    if args.classes and not args.photos:
        raise ValueError("--classes needs --photos, a folder of photos for each kind")
    device = device_of(args)
    model = load_generator(args.model, args.base, device)
    found: dict[str, dict] = {}
    with interruptible() as poll:
        if args.photos:
            found["photos"] = _beside_photos(model, args, poll)
        if args.classes:
            found["classes"] = _classes(model, args, poll)
        if args.sketches:
            found["sketches"] = _beside_sketches(model, args, poll)
    if args.json:
        atomic_write(args.json, lambda path: path.write_text(json.dumps(found, indent=1), "utf-8"))


def _beside_photos(model: GanModel, args: Namespace, poll) -> dict:
    names = image_names(args.photos)
    photos = _photos(model, args, hold_out(names)[1] if args.hold_out else names)
    extractor = load_extractor(args.extractor).to(model.w_mean.device)
    total = args.count + len(photos) + args.path_length
    with tqdm(total=total, desc="evaluate", unit="image", leave=False, dynamic_ncols=True) as bar:

        def on_batch(done: int, _total: int) -> None:
            poll()
            bar.update(done - bar.n)

        result = evaluate_model(
            model,
            photos.to(model.w_mean.device),
            extractor,
            count=args.count,
            seed=args.seed,
            path_length_pairs=args.path_length,
            on_batch=on_batch,
        )
    print(result)
    return asdict(result)


def _photos(model: GanModel, args: Namespace, names: list[str]) -> torch.Tensor:
    """The chosen photos at the model's size: [N,3,R,R] in -1..1."""
    kinds = {kind_of(name) for name in names}
    for kind in args.only:
        if kind not in kinds:
            raise ValueError(f"--only {kind}: there are no such photos; there are {', '.join(sorted(kinds))}")
    names = [name for name in names if not args.only or kind_of(name) in args.only]
    if not args.placed:
        chosen = ImageSet(args.photos, model.config.resolution, names=names)
        return chosen.batch(torch.arange(len(chosen)))
    chosen = ImageSet(args.photos, 2 * model.config.resolution, names=names)
    return placed(chosen.data, model.config.resolution, placement_of(model), stream(args.seed, "photo placement"))


def _classes(model: GanModel, args: Namespace, poll) -> dict:
    """Fits the classifier on up to 100 training photos of each kind, checks it on the photos left out."""
    device = model.w_mean.device
    extractor = load_extractor(args.extractor).to(device)

    def features(names: list[str], most: int, what: str) -> tuple[torch.Tensor, list[str]]:
        kinds = Counter(map(kind_of, names))
        seen: Counter = Counter()
        some = []
        for name in names:  # evenly through each kind's photos
            kind = kind_of(name)
            some += [name] if seen[kind] * most // kinds[kind] != (seen[kind] + 1) * most // kinds[kind] else []
            seen[kind] += 1
        x = _photos(model, args, some).to(device)
        with tqdm(total=len(x), desc=what, unit="image", leave=False, dynamic_ncols=True) as bar:
            return extract(extractor, x, on_batch=lambda done: (poll(), bar.update(done - bar.n))), [
                kind_of(name) for name in some if not args.only or kind_of(name) in args.only
            ]

    training, left_out = hold_out(image_names(args.photos))
    classifier = fit_classifier(*features(training, 100, "classifier"))
    accuracy = classifier.accuracy(*features(left_out, 20, "check"))
    latents = sample_z(model, args.count, args.seed)
    parts = []
    for first in tqdm(range(0, args.count, 64), desc="samples", leave=False, dynamic_ncols=True):
        poll()
        parts.append(extract(extractor, render(model, latents[first : first + 64], batch=16)))
    counts = classifier.counts(torch.cat(parts))
    print(f"Kinds among {args.count} samples, by a classifier that is right on {accuracy:.0%} of the photos left out:")
    print(", ".join(f"{kind} {count}" for kind, count in sorted(counts.items(), key=lambda item: -item[1])))
    return {"accuracy": accuracy, "counts": counts}


def _beside_sketches(model: GanModel, args: Namespace, poll) -> dict:
    if not args.base:
        raise ValueError("--sketches compares a customised model with its base: give that model with --base")
    base = load_generator(args.base, None, model.w_mean.device)
    sketcher = load_sketcher(args.sketcher, model.w_mean.device)
    sketches = prepare_sketches(load_pictures(args.sketches), model.config.resolution)
    count = min(args.count, 1000)
    match = sketch_match(base, model, sketches, sketcher, count=count, seed=args.seed, on_batch=lambda *_: poll())
    print(f"{match}\n{match.beats:.0%} of {count} samples are nearer than the base's median.")
    return asdict(match)
