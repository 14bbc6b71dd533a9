"""What the study measures: its methods, and the order of its measurements."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from itertools import product

from ..training.finetune_config import FinetuneConfig

SKETCHES = 30  # line drawings of a class, unless a method says otherwise
PAPER_STEPS = 1500


@dataclass(frozen=True)
class Method:
    """One row of the tables: how samples of a class are obtained; by default they are the base model's."""

    title: str  # heading of the row
    group: str = "main"  # the table it is in, a value of `study_report.GROUPS`
    preset: str = ""  # of a fine-tuning
    shift: str = ""  # instead, w is shifted towards the samples nearest to the sketches, by "drawings" or "features"
    options: dict = field(default_factory=dict)  # changes of the preset, or keyword arguments of `shift_towards`
    sketches: int = SKETCHES
    human: bool = False  # use Quick, Draw! sketches instead of line drawings of training photos
    photos: bool = False  # training photos of the class instead of samples: what the metrics say of real photos


def _ablation(title: str, **options) -> Method:
    return Method(title, "ablations", preset="fast", options=options)


_FAST = FinetuneConfig.preset("fast")
_WARM_START = {"strength": _FAST.warm_start, "spread": _FAST.warm_spread, "per_sketch": True}

METHODS: dict[str, Method] = {
    "original": Method("original model"),
    "shift": Method("mean shift in w, by drawings", shift="drawings"),
    "shift-features": Method("mean shift in w, by features of drawings", shift="features"),
    "w-shift": Method("trained shift of w", preset="fast", options={"trainable": "w_shift", "warm_start": 0.0}),
    "fast": Method("full method, preset fast", preset="fast"),
    "photos": Method("training photos of the class", photos=True),
    "paper": Method(
        f"full method, preset paper, {PAPER_STEPS:,} steps",
        "paper",
        preset="paper",
        options={"steps": PAPER_STEPS, "batch_statistics": False},
    ),
    "fast-5": Method("5 line drawings", "sketches", preset="fast", sketches=5),
    "fast-1": Method("1 line drawing", "sketches", preset="fast", sketches=1),
    "human-5": Method("5 Quick, Draw! sketches", "sketches", preset="fast", sketches=5, human=True),
    "human-1": Method("1 Quick, Draw! sketch", "sketches", preset="fast", sketches=1, human=True),
    "cold": _ablation("without the warm start", warm_start=0.0),
    "no-distance": _ablation("without the Chamfer distance", distance_weight=0.0),
    "wide": _ablation("warm start with the whole spread of w", warm_spread=1.0),
    "warm-only": Method("the warm start alone", "ablations", shift="drawings", options=_WARM_START),
    "no-image-term": _ablation("no regularisation", regularisation="none"),
    "weights": _ablation("regularisation by weights", regularisation="weights"),
    "images": _ablation("regularisation by photos", regularisation="images"),
    "lambda-0.7": _ablation("the paper's lambda of 0.7", image_weight=0.7),
    "no-augmentation": _ablation("without augmentation", augmentation=""),
    "scratch": _ablation("D_Y from scratch", sketch_discriminator="scratch"),
}


@dataclass(frozen=True)
class Cell:
    """One measurement: a class of photos (`target`), a method for it, and the seed of sketches and samples."""

    target: str
    method: str
    seed: int

    def __str__(self) -> str:
        return f"{self.target}.{self.method}.{self.seed}"


def plan(targets: Sequence[str], methods: Sequence[str], seeds: int, human: Collection[str] = ()) -> list[Cell]:
    """All cells, in the order that makes partial results useful; human: the classes that have Quick, Draw! sketches.

    That is: the main table for every class with the first seed, the ablations, the numbers of sketches, further seeds
    of the main table, and last the paper's preset, which takes longest.
    """
    for name in methods:
        if name not in METHODS:
            raise ValueError(f'method "{name}" is unknown; use some of {", ".join(METHODS)}')
    further = [("main", seed) for seed in range(1, seeds)]
    rounds = [("main", 0), ("ablations", 0), ("sketches", 0), *further, ("paper", 0)]
    return [
        Cell(target, name, seed)
        for (group, seed), target, name in product(rounds, targets, methods)
        if METHODS[name].group == group and (target in human or not METHODS[name].human)
    ]
