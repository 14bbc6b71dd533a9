"""A small classifier on features, to count which kinds of objects a model's samples show."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Classifier:
    """Multinomial logistic regression on standardised features."""

    classes: tuple[str, ...]
    mean: Tensor  # [D]
    scale: Tensor  # [D]
    weight: Tensor  # [C, D]
    bias: Tensor  # [C]

    def predict(self, features: Tensor) -> list[str]:
        """Features [N,D] -> the most likely class of each."""
        x = (features.double() - self.mean) / self.scale
        return [self.classes[index] for index in (x @ self.weight.T + self.bias).argmax(dim=1).tolist()]

    def accuracy(self, features: Tensor, labels: Sequence[str]) -> float:
        """Share, 0..1, of features [N,D] that get their label."""
        guesses = self.predict(features)
        return sum(guess == label for guess, label in zip(guesses, labels, strict=True)) / len(guesses)

    def counts(self, features: Tensor) -> dict[str, int]:
        """Number of features [N,D] in each class, 0 included."""
        counts = Counter(self.predict(features))
        return {name: counts[name] for name in self.classes}


def fit_classifier(features: Tensor, labels: Sequence[str], *, decay: float = 1e-2) -> Classifier:
    """Fit a classifier to features [N,D] and their labels, in float64. decay: weight of the L2 penalty on weights."""
    if len(features) != len(labels):
        raise ValueError(f"there are {len(features)} features and {len(labels)} labels; give one label for each")
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise ValueError(f"the labels name {len(classes)} class; a classifier needs at least two")
    x = features.double()
    mean = x.mean(dim=0)
    scale = x.std(dim=0).clamp(min=1e-6)
    x = (x - mean) / scale
    target = torch.tensor([classes.index(label) for label in labels])
    weight = torch.zeros(len(classes), x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(classes), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weight.T + bias, target) + decay / 2 * weight.square().sum()
        value.backward()
        return value

    with torch.inference_mode(False), torch.enable_grad():
        optimizer.step(loss)
    return Classifier(classes, mean, scale, weight.detach(), bias.detach())
