"""Features that saw no ImageNet: a small network that tells the kinds of things in the study's own photos apart.

The bundled model's discriminator and the study's extractor are both EfficientNets trained on ImageNet, which might
favour each other. A ranking of methods that holds in these features, too, does not rest on that.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..datasets import ImageSet, kind_of
from ..networks.feature_networks import extract
from ..random_streams import seeded_init, stream
from ..training.placement import PlacementConfig, placed

STEPS = 1000
BATCH = 64
CHANNELS = (32, 64, 128, 128)  # after each halving of the sides; the last are the features


class KindsNetwork(nn.Module):
    """Images [B,3,R,R] in -1..1 -> features [B,128], the pooled activations before the linear classifier."""

    def __init__(self, kinds: Sequence[str], seed: int = 0) -> None:
        super().__init__()
        self.kinds = tuple(kinds)
        layers: list[nn.Module] = []
        with seeded_init(seed):
            for before, after in zip((3, *CHANNELS), CHANNELS):
                layers += [nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(after)]
                layers += [nn.ReLU(), nn.Conv2d(after, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
                layers += [nn.ReLU()]
            self.body = nn.Sequential(*layers)
            self.classify = nn.Linear(CHANNELS[-1], len(self.kinds))

    def forward(self, images: Tensor) -> Tensor:
        return self.body(images.clamp(-1, 1)).mean(dim=(2, 3))

    def accuracy(self, images: Tensor, names: Sequence[str]) -> float:
        """Share of images [N,3,R,R] that are recognised as the kinds of the photos `names`."""
        guesses = self.classify(extract(self, images)).argmax(dim=1).tolist()
        return sum(self.kinds[guess] == kind_of(name) for guess, name in zip(guesses, names, strict=True)) / len(names)


def train_kinds_network(
    photos: ImageSet,
    resolution: int,
    placement: PlacementConfig,
    *,
    steps: int = STEPS,
    poll: Callable[[], None] = lambda: None,
) -> KindsNetwork:
    """Train on photos that are placed as a model's training pictures were. About three minutes on one CPU core."""
    targets = [kind_of(name) for name in photos.names]
    network = KindsNetwork(sorted(set(targets)))
    labels = torch.tensor([network.kinds.index(target) for target in targets])
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        poll()
        rng = stream(0, "study kinds network", step)
        chosen = torch.randint(len(photos), (BATCH,), generator=rng)
        images = placed(photos.data[chosen], resolution, placement, rng)
        loss = F.cross_entropy(network.classify(network(images)), labels[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return network.eval().requires_grad_(False)
