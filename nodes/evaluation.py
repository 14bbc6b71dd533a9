"""Evaluation: a model's samples beside photos, and a customised model beside the sketches."""

from __future__ import annotations

import torch

from ..gansketching_core.datasets import ImageSet
from ..gansketching_core.evaluation.evaluate import evaluate_model
from ..gansketching_core.evaluation.sketch_match import sketch_match
from ..gansketching_core.networks.feature_networks import EXTRACTORS, OFFLINE, load_extractor
from ..gansketching_core.sketches.prepare import prepare_sketches
from . import host, widgets
from .sampling import batch_size

CLASSES = "For models with classes: which one. Models without classes need -1."


class EvaluateModel:
    DISPLAY_NAME = "Evaluate Model"
    CATEGORY = "GANSketching/evaluation"
    DESCRIPTION = (
        "Compares a model's samples with photos of what it should make: Frechet distance, KID, precision and recall. "
        "Figures made with different extractors or counts can't be compared with each other."
    )
    SEARCH_ALIASES = ("fid", "kid", "metrics", "precision recall", "quality", "frechet")
    RETURN_TYPES = ("STRING", "FLOAT", "FLOAT", "FLOAT", "FLOAT")
    RETURN_NAMES = ("report", "frechet_distance", "kid", "precision", "recall")
    OUTPUT_TOOLTIPS = (
        "All figures in words, with the extractor they were made with.",
        "How far the samples are from the photos as a whole. Less is better.",
        "The same by another measure, times 1000. About 0 for samples that can't be told from photos.",
        "The share of samples that look like some photo, 0 to 1.",
        "The share of photos that look like some sample, 0 to 1.",
    )
    FUNCTION = "evaluate"

    @classmethod
    def INPUT_TYPES(cls):
        photos = "Photos of what the model should make, as many as you have. Cropped to squares about their middle."
        extractor = (
            "The network whose features are compared. efficientnet-lite0 needs two small packages and no download; "
            "inception gives figures comparable with published FID, needs torch-fidelity and downloads 91 MB."
        )
        count = "How many samples. More make the figures steadier."
        pairs = "Steps to measure the path length with, which tells how smooth the latent space is. 0 leaves it out."
        return {
            "required": {
                "model": ("GANSKETCHING_MODEL", {"tooltip": "The generator, original or customised."}),
                "photos": ("IMAGE", {"tooltip": photos}),
                "extractor": (list(EXTRACTORS), {"default": OFFLINE, "tooltip": extractor}),
                "count": ("INT", {"default": 500, "min": 4, "max": 50_000, "tooltip": count}),
                "path_length_pairs": ("INT", {"default": 0, "min": 0, "max": 50_000, "tooltip": pairs}),
                "seed": widgets.seed(changes=False, tooltip="Decides the samples."),
                "class_index": ("INT", {"default": -1, "min": -1, "max": 100_000, "tooltip": CLASSES}),
            }
        }

    @classmethod
    def VALIDATE_INPUTS(cls, extractor):
        try:
            EXTRACTORS[extractor].check()
        except ValueError as error:
            return str(error)
        return True

    def evaluate(self, model, photos, extractor, count, path_length_pairs, seed, class_index):
        photos = ImageSet(photos, model.config.resolution)
        progress = host.Progress(count + len(photos) + path_length_pairs)
        with host.borrowed_device(1) as device:
            result = evaluate_model(
                host.model_on_device(model, device),
                photos.batch(torch.arange(len(photos))).to(device),
                load_extractor(extractor).to(device),
                count=count,
                seed=seed,
                label=None if class_index < 0 else class_index,
                path_length_pairs=path_length_pairs,
                batch=batch_size(model),
                on_batch=progress.on_batch,
            )
        return str(result), result.frechet, result.kid, result.precision, result.recall


class SketchMatchScore:
    DISPLAY_NAME = "Sketch Match Score"
    CATEGORY = "GANSketching/evaluation"
    DESCRIPTION = (
        "Says how much nearer a customised model's images came to the sketches: draws samples of both models from the "
        "same latents and measures the distance of the lines."
    )
    SEARCH_ALIASES = ("chamfer", "score", "metrics", "compare models", "sketch similarity")
    RETURN_TYPES = ("STRING", "FLOAT", "FLOAT", "FLOAT", "FLOAT")
    RETURN_NAMES = ("report", "before", "after", "nearer", "beats_median")
    OUTPUT_TOOLTIPS = (
        "The figures in words.",
        "Median distance from a drawing of the original's samples to the nearest sketch, in image sides.",
        "The same for the customised model. Less is better.",
        "The share of samples that came nearer, 0 to 1.",
        "The share of samples that are nearer than the original's median, 0 to 1; half of the original's are.",
    )
    FUNCTION = "score"

    @classmethod
    def INPUT_TYPES(cls):
        count = "How many samples of each model. More make the figures steadier."
        return {
            "required": {
                "original": ("GANSKETCHING_MODEL", {"tooltip": "The model before customising."}),
                "customised": ("GANSKETCHING_MODEL", {"tooltip": "The model made from it."}),
                "sketches": ("IMAGE,MASK", {"tooltip": "The sketches it was customised with, black on white."}),
                "photosketch": ("GANSKETCHING_PHOTOSKETCH", {"tooltip": "Draws the models' images as sketches."}),
                "count": ("INT", {"default": 64, "min": 2, "max": 10_000, "tooltip": count}),
                "seed": widgets.seed(changes=False, tooltip="Decides the samples."),
                "class_index": ("INT", {"default": -1, "min": -1, "max": 100_000, "tooltip": CLASSES}),
            }
        }

    def score(self, original, customised, sketches, photosketch, count, seed, class_index):
        size = original.config.resolution
        if customised.config.resolution != size:
            raise ValueError(
                f"the original makes pictures of {size} px, the customised model of {customised.config.resolution} px: "
                "connect a model and one that was customised from it"
            )
        progress = host.Progress(2 * count)
        done = 0

        def on_batch(now: int, total: int) -> None:
            nonlocal done
            progress.on_batch(done + now)
            done += total if now == total else 0

        with host.borrowed_device(1) as device:
            match = sketch_match(
                host.model_on_device(original, device),
                host.model_on_device(customised, device),
                prepare_sketches(sketches, size),
                host.on_device(photosketch, device),
                count=count,
                seed=seed,
                label=None if class_index < 0 else class_index,
                batch=batch_size(original),
                on_batch=on_batch,
            )
        report = f"{match} {match.beats:.0%} are nearer than the original's median."
        return report, match.before, match.after, match.nearer, match.beats
