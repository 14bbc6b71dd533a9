"""What a fine-tuning asks of a device: Apple's GPUs (MPS) have no float64. Run on the CPU, operator by operator."""

from __future__ import annotations

import torch
from tiny import some_sketches, tiny_model
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gansketching_core.networks.photosketch import PhotoSketch
from gansketching_core.sketches import distance
from gansketching_core.training.finetune import SketchFinetuner
from gansketching_core.training.finetune_config import FinetuneConfig


class Recorder(TorchDispatchMode):
    """The operators that run in this context, and those of them that take or give float64."""

    def __init__(self):
        super().__init__()
        self.operators, self.double = set(), set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.operators.add(str(func))
        if any(isinstance(x, torch.Tensor) and x.dtype is torch.float64 for x in tree_leaves((args, kwargs, result))):
            self.double.add(str(func))
        return result


def test_no_operator_of_a_training_uses_float64(monkeypatch):
    monkeypatch.setattr(distance, "_distance_map_scipy", distance._distance_map_torch)  # as on a GPU
    for preset in ("fast", "paper"):
        config = FinetuneConfig.preset(preset, batch=4, precision="float32", sketch_scale=1.0)
        sketcher = PhotoSketch(width=4, blocks=1).eval()
        with Recorder() as recorder:
            finetuner = SketchFinetuner(tiny_model(), some_sketches(), sketcher, config)
            finetuner.step()
            finetuner.step()
            finetuner.result()
        assert len(recorder.operators) > 30 and not recorder.double
