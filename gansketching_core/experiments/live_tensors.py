"""The memory of a fine-tuning step counted as its live tensors, on any machine and without computing them."""

import weakref
from contextlib import nullcontext

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..networks.photosketch import PhotoSketch
from ..networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator
from ..training.finetune import SketchFinetuner
from ..training.finetune_config import FinetuneConfig


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that operators make in this context, until they are freed."""

    def __init__(self, *, values: bool = True):
        super().__init__()
        self.values = values  # False: tensors without values, whose numbers are taken to be 0.5, 1 or True
        self.now = 0
        self.peak = 0
        self._storages: dict[int, weakref.ref] = {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func is torch.ops.aten._local_scalar_dense.default and not self.values:
            return 0.5 if args[0].is_floating_point() else args[0].dtype is torch.bool or 1
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = id(storage), storage.nbytes()
        if key in self._storages and self._storages[key]() is storage:
            return

        def freed(_reference: weakref.ref) -> None:
            self.now -= size
            self._storages.pop(key, None)

        self._storages[key] = weakref.ref(storage, freed)
        self.now += size
        self.peak = max(self.peak, self.now)


def count_live_tensors(
    gan: GanConfig, config: FinetuneConfig, photosketch: PhotoSketch | None = None, *, compute: bool = False
) -> int:
    """Bytes at the peak of a step with R1, networks and optimisers included, on a CPU's operators.

    What an allocator loses and libraries use for themselves (workspaces of convolutions) comes on top, as do the
    distances of the sketches. compute: run the operators, which gives the same number and takes longer.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode  # slow to import

    size = gan.resolution
    changes = {"r1_every": 1, "warm_start": 0.0, "distance_weight": 0.0}
    live = LiveTensors()
    with live:
        generator = Generator(gan).eval().requires_grad_(False)
        discriminator = Discriminator(gan).eval().requires_grad_(False)
        model = GanModel(generator, discriminator, gan, torch.zeros(gan.w_dim))
        sketches = torch.rand(1, 1, size, size) * 2 - 1
        sketcher = photosketch or PhotoSketch().eval()
        finetuner = SketchFinetuner(model, sketches, sketcher, config.model_copy(update=changes))
        del generator, discriminator
    live.values = compute
    with nullcontext() if compute else FakeTensorMode(allow_non_fake_inputs=True), live:
        finetuner.step()
        live.peak = live.now
        finetuner.step()
    return live.peak
