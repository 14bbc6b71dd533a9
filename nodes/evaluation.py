"""Evaluation: a model's samples compared with photos, and a customised model's with the sketches."""

import torch

from ..gansketching_core.datasets import ImageSet
from ..gansketching_core.evaluation.evaluate import evaluate_model
from ..gansketching_core.evaluation.sketch_match import DEFAULT_SEED, default_count, sketch_match
from ..gansketching_core.networks.feature_networks import EXTRACTORS, OFFLINE, load_extractor
from . import host
from . import widgets as ui
from .sampling import IN_TURN, batch_size
from .sketching import PHOTOSKETCH, as_sketches
from .widgets import MODEL

EXTRACTOR = (
    "The network whose features are compared. efficientnet-lite0 needs two small packages and no download; "
    "inception gives figures comparable with published FID, needs torch-fidelity and downloads 91 MB."
)


@ui.takes_lists("photos")
class EvaluateModel:
    DISPLAY_NAME = "Evaluate GAN"
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
    INPUT_TYPES = ui.inputs(
        model=ui.socket(MODEL, "The generator, original or customised."),
        photos=ui.socket(
            "IMAGE", "Photos of what the model should make, of any sizes, as many as you have. Cropped to squares."
        ),
        extractor=ui.one_of(EXTRACTORS, OFFLINE, EXTRACTOR),
        count=ui.integer(500, 4, 50_000, "How many samples. More make the figures steadier."),
        path_length_pairs=ui.integer(0, 0, 50_000, "Steps to measure the smoothness of the latent space. 0: none."),
        seed=ui.seed(changes=False, tooltip="Seed of the samples."),
        class_index=ui.class_index(IN_TURN),
    )

    @classmethod
    def VALIDATE_INPUTS(cls, extractor):
        return ui.check(lambda name: EXTRACTORS[name].check(), extractor)

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
                label=ui.or_none(class_index),
                path_length_pairs=path_length_pairs,
                batch=batch_size(model),
                on_batch=progress.on_batch,
            )
        return str(result), result.frechet, result.kid, result.precision, result.recall


@ui.takes_lists("sketches")
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
    INPUT_TYPES = ui.inputs(
        original=ui.socket(MODEL, "The model before customising."),
        customised=ui.socket(MODEL, "The model made from it."),
        sketches=ui.socket("IMAGE,MASK", "The sketches it was trained with, from Prepare Sketch."),
        photosketch=PHOTOSKETCH,
        count=ui.integer(0, 0, 10_000, "Samples of each model. 0: as many as fine-tuning takes, 64, above 128 px 16."),
        seed=ui.seed(changes=False, tooltip="Seed of the samples. 1 is fine-tuning's.", default=DEFAULT_SEED),
        class_index=ui.class_index(IN_TURN),
    )

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
                label=ui.or_none(class_index),
                batch=batch_size(original),
                on_batch=progress.on_batch,
            )
        return str(match), match.before, match.after, match.nearer, match.beats
