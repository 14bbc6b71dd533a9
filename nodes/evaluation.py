"""Evaluation: a model's samples compared with photos, and a customised model's with the sketches."""

from __future__ import annotations

import torch

from ..gansketching_core.datasets import ImageSet
from ..gansketching_core.evaluation.evaluate import evaluate_model
from ..gansketching_core.evaluation.sketch_match import DEFAULT_SEED, default_count, sketch_match
from ..gansketching_core.networks.feature_networks import EXTRACTORS, OFFLINE, load_extractor
from . import host, widgets
from .sampling import batch_size
from .sketching import as_sketches

CLASS_INDEX = "The class, for models with classes; -1 takes all in turn. Models without classes need -1."


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
        "Distance between the features of the samples and of the photos. Less is better.",
        "Kernel distance of the same features, times 1000. About 0 for samples that can't be told from photos.",
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
                "seed": widgets.seed(changes=False, tooltip="Seed of the samples."),
                "class_index": ("INT", {"default": -1, "min": -1, "max": 100_000, "tooltip": CLASS_INDEX}),
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
        "Measures how much nearer a customised model's images came to the sketches, as fine-tuning does: photosketch "
        "draws samples of both models from the same latents, and the drawings are compared with the sketches."
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
        sketches = "The sketches it was customised with, from Prepare Sketch: black on white, strokes as they are."
        count = "How many samples of each model. 0: as many as fine-tuning takes, 64, above 128 px 16."
        seed_type, seed_options = widgets.seed(changes=False, tooltip="Seed of the samples. 1 is fine-tuning's.")
        return {
            "required": {
                "original": ("GANSKETCHING_MODEL", {"tooltip": "The model before customising."}),
                "customised": ("GANSKETCHING_MODEL", {"tooltip": "The model made from it."}),
                "sketches": ("IMAGE,MASK", {"tooltip": sketches}),
                "photosketch": ("GANSKETCHING_PHOTOSKETCH", {"tooltip": "Draws the models' images as sketches."}),
                "count": ("INT", {"default": 0, "min": 0, "max": 10_000, "tooltip": count}),
                "seed": (seed_type, {**seed_options, "default": DEFAULT_SEED}),
                "class_index": ("INT", {"default": -1, "min": -1, "max": 100_000, "tooltip": CLASS_INDEX}),
            }
        }

    def score(self, original, customised, sketches, photosketch, count, seed, class_index):
        count = count or default_count(original.config.resolution)
        progress = host.Progress(2 * count)
        with host.borrowed_device(1) as device:
            match = sketch_match(
                host.model_on_device(original, device),
                host.model_on_device(customised, device),
                as_sketches(sketches, original.config.resolution),
                host.on_device(photosketch, device),
                count=count,
                seed=seed,
                label=None if class_index < 0 else class_index,
                batch=batch_size(original),
                on_batch=progress.on_batch,
            )
        return str(match), match.before, match.after, match.nearer, match.beats
