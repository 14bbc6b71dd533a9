import json
import math
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections import defaultdict
from dataclasses import asdict
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from ..datasets import ImageSet, hold_out, image_names, kind_of
from ..evaluation.classifier import fit_classifier
from ..evaluation.evaluate import evaluate_model, sample_features
from ..evaluation.sketch_match import DEFAULT_SEED, default_count, sketch_match
from ..files import atomic_write
from ..latents.sampling import sample_z
from ..networks.feature_networks import EXTRACTORS, OFFLINE, extract, load_extractor
from ..networks.stylegan2 import GanModel
from ..random_streams import stream
from ..sketches.prepare import SketchConfig
from ..training.placement import placed, placement_of
from .arguments import MODEL_HELP, SKETCHER_HELP, add_base, load_generator, load_sketches
from .flags import parse
from .processes import join
from .progress import batch_bar

SAMPLES = 1000


def evaluate(parser: ArgumentParser, argv: list[str]) -> None:
    """Measure how good a model is: compare its samples with photos (Frechet distance, KID, precision and recall, path
    length), and the samples of a customised model with the sketches, as the fine-tuning does."""
    add = parser.add_argument
    add("model", help=MODEL_HELP)
    add("--photos", type=Path, metavar="PATH", help="folder or zip of photos to compare with")
    add("--only", nargs="+", default=[], metavar="KIND", help="only photos of these kinds: folders' names up to a _")
    add("--hold-out", action="store_true", help="only the pictures that pretrain --hold-out leaves out")
    add("--placed", action="store_true", help="turn, shrink and shift the photos as the model's training pictures were")
    add("--classes", action="store_true", help="count the kinds among the samples, by a small classifier")
    add("--sketches", type=Path, nargs="+", default=[], metavar="PATH", help="the user's sketches")
    add("--sketcher", default="sketcher", metavar="NAME", help=SKETCHER_HELP)
    add("--extractor", choices=list(EXTRACTORS), default=OFFLINE, help="network that images are compared by")
    count_help = f"samples (default: {SAMPLES}; for sketches the number that finetune uses)"
    add("--count", type=int, default=SUPPRESS, metavar="N", help=count_help)
    add("--path-length", type=int, default=0, metavar="N", help="pairs for the path length")
    seed_help = "seed of the samples (default: 0; for sketches the one that finetune uses)"
    add("--seed", type=int, default=SUPPRESS, metavar="N", help=seed_help)
    add("--json", type=Path, metavar="FILE", help="write the numbers to a file as well")
    add_base(parser)
    args, sketch_config = parse(parser, argv, SketchConfig, "preparation of the sketches")

    if not args.photos and not args.sketches:
        raise ValueError("there is nothing to compare with: give --photos, --sketches or both")
    if args.classes and not args.photos:
        raise ValueError("--classes needs --photos, a folder of photos for each kind")
    args.team, args.device = join(args.device)
    model = load_generator(args.model, args.base, args.device)
    results: dict[str, dict] = {}
    if args.photos:
        results["photos"] = _compare_with_photos(model, args)
    if args.classes:
        results["classes"] = _count_kinds(model, args)
    if args.sketches:
        results["sketches"] = _compare_with_sketches(model, sketch_config, args)
    if args.json:
        write = partial(atomic_write, args.json, lambda path: path.write_text(json.dumps(results, indent=1), "utf-8"))
        args.team.first(write)


def _compare_with_photos(model: GanModel, args: Namespace) -> dict:
    names = _photo_names(args)
    photos = _load_photos(model, args, hold_out(names)[1] if args.hold_out else names)
    count = getattr(args, "count", SAMPLES)
    with batch_bar(count + len(photos) + args.path_length, "image", shown=args.team.writes) as on_batch:
        extractor = load_extractor(args.extractor).to(model.w_mean.device)
        options = {"count": count, "seed": getattr(args, "seed", 0), "label": args.label, "share": args.team.map}
        pairs = args.path_length
        result = evaluate_model(model, photos, extractor, path_length_pairs=pairs, on_batch=on_batch, **options)
    print(result)
    return asdict(result)


def _photo_names(args: Namespace) -> list[str]:
    """Names of the photos of the kinds that --only chooses."""
    names = image_names(args.photos)
    kinds = sorted(set(map(kind_of, names)))
    for kind in args.only:
        if kind not in kinds:
            raise ValueError(f"--only {kind}: there are no such photos; there are {', '.join(kinds)}")
    return [name for name in names if kind_of(name) in (args.only or kinds)]


def _load_photos(model: GanModel, args: Namespace, names: list[str]) -> Tensor:
    """Photos at the model's size: [N,3,R,R] in -1..1, on the model's device."""
    size = model.config.resolution
    if args.placed:
        pictures = ImageSet(args.photos, 2 * size, names=names).data
        photos = placed(pictures, size, placement_of(model), stream(getattr(args, "seed", 0), "photo placement"))
    else:
        photos = ImageSet(args.photos, size, names=names).batch(torch.arange(len(names)))
    return photos.to(model.w_mean.device)


def _count_kinds(model: GanModel, args: Namespace) -> dict:
    """Count the kinds among the samples with a classifier fitted on training photos and checked on held-out ones."""
    extractor = load_extractor(args.extractor).to(model.w_mean.device)
    training, held_out = hold_out(_photo_names(args))
    training, held_out = _some_of_each_kind(training, 100), _some_of_each_kind(held_out, 20)
    count = getattr(args, "count", SAMPLES)
    latents = sample_z(model, count, getattr(args, "seed", 0), args.label)

    def features_of_photos(names: list[str]) -> Tensor:
        with batch_bar(len(names), "image", shown=args.team.writes) as on_batch:
            return extract(extractor, _load_photos(model, args, names), on_batch=on_batch, share=args.team.map)

    classifier = fit_classifier(features_of_photos(training), list(map(kind_of, training)))
    accuracy = classifier.accuracy(features_of_photos(held_out), list(map(kind_of, held_out)))
    with batch_bar(count, "image", shown=args.team.writes) as on_batch:
        options = {"batch": 16, "on_batch": on_batch, "share": args.team.map}
        counts = classifier.counts(sample_features(model, latents, extractor, **options))
    print(f"Kinds among {count} samples, by a classifier that is right on {accuracy:.0%} of the held-out photos:")
    print(", ".join(f"{kind} {count}" for kind, count in sorted(counts.items(), key=lambda item: -item[1])))
    return {"accuracy": accuracy, "counts": counts}


def _some_of_each_kind(names: list[str], most: int) -> list[str]:
    """At most `most` names of each kind, evenly spaced."""
    kinds: dict[str, list[str]] = defaultdict(list)
    for name in names:
        kinds[kind_of(name)].append(name)
    return [name for members in kinds.values() for name in members[:: math.ceil(len(members) / most)]]


def _compare_with_sketches(model: GanModel, config: SketchConfig, args: Namespace) -> dict:
    if not args.base:
        raise ValueError("--sketches compares a customised model with its base: give that model with --base")
    base = load_generator(args.base, None, model.w_mean.device)
    sketcher, sketches = load_sketches(args, base, config, args.label)
    count = getattr(args, "count", default_count(model.config.resolution))
    with batch_bar(2 * count, "image", shown=args.team.writes) as on_batch:
        seed = getattr(args, "seed", DEFAULT_SEED)
        options = {"count": count, "seed": seed, "label": args.label, "share": args.team.map}
        match = sketch_match(base, model, sketches, sketcher, on_batch=on_batch, **options)
    print(match)
    return asdict(match)
