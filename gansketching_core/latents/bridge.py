"""Latent bridges: functions from the w of one model to the w of another, fitted to pairs of them.

A bridge is a ridge regression, to which a small network (an MLP with one hidden layer) may be added.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..checkpoints.hashes import weights_hash
from ..networks.stylegan2 import GanModel
from ..random_streams import seeded_init, stream
from .spaces import Latents, to_w, to_w_plus

PairKind = Literal["none", "projected", "same z"]  # none: trained on images, see inversion/bridge_training.py
Fit = Literal["auto", "ridge", "mlp"]
FEWEST = 15  # pairs
FOLDS = 5  # of the cross-validation that chooses the strength of the ridge regression
STRENGTHS = [10 ** (k / 2) for k in range(-8, 5)]  # of the ridge, as multiples of the mean variance of w
HIDDEN, BATCH, LEARNING_RATE, WEIGHT_DECAY = 256, 128, 2e-3, 1e-3  # of the MLP
STEPS, CHECK_EVERY, PATIENCE = 2000, 50, 200  # of its training, which ends after PATIENCE steps without improvement
BETTER = 0.95  # the MLP is added where its squared error on pairs it has not seen is at most this share of the ridge's


@dataclass(frozen=True)
class LatentBridge:
    """w -> offset + (w - origin) matrix + leaky_relu((w - origin) hidden + hidden_bias) out."""

    origin: Tensor  # [A], the mean w of the source
    offset: Tensor  # [B], the mean w of the target
    matrix: Tensor  # [A, B]
    hidden: Tensor  # [A, H]; H is 0 for a ridge regression alone
    hidden_bias: Tensor  # [H]
    out: Tensor  # [H, B]
    kind: PairKind = "projected"
    source: str = ""  # names of the models
    target: str = ""
    source_hash: str = ""  # see `identity`
    target_hash: str = ""
    report: Mapping[str, str] = field(default_factory=dict)  # how good it is, for people

    def __post_init__(self):
        if self.kind not in get_args(PairKind):
            raise ValueError(f'kind "{self.kind}" is unknown')
        if self.matrix.ndim != 2 or self.hidden_bias.ndim != 1:
            raise ValueError("matrix or hidden_bias has a wrong number of axes")
        (a, b), h = self.matrix.shape, len(self.hidden_bias)
        expected = {"origin": (a,), "offset": (b,), "hidden": (a, h), "hidden_bias": (h,), "out": (h, b)}
        for name, shape in expected.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name} has shape {tuple(getattr(self, name).shape)}, expected {shape}")

    def __call__(self, w: Tensor) -> Tensor:
        """w [..., A] of the source -> w [..., B] of the target, on the device of w."""
        origin, offset, matrix = (tensor.to(w) for tensor in (self.origin, self.offset, self.matrix))
        hidden, bias, out = (tensor.to(w) for tensor in (self.hidden, self.hidden_bias, self.out))
        w = w - origin
        return offset + w @ matrix + F.leaky_relu(w @ hidden + bias, 0.2) @ out


def identity(model: GanModel, kind: PairKind) -> str:
    """The hash that a bridge knows a model by.

    "same z" bridges lead from one mapping network to another: the hash of all weights. Others depend on what images a w
    gives, which a model and all customised versions share: the base's hash.
    """
    return weights_hash(model) if kind == "same z" else model.base_hash or weights_hash(model)


@torch.no_grad()
def cross(bridge: LatentBridge, source: GanModel, target: GanModel, latents: Latents) -> Latents:
    """Latents of the source model, z, w or w+ -> latents of the target model, w or w+.

    Raises ValueError if the bridge was fitted for other models, or for w+ if the models have different layers.
    """
    for side, model, name, wanted in (
        ("from", source, bridge.source, bridge.source_hash),
        ("to", target, bridge.target, bridge.target_hash),
    ):
        if identity(model, bridge.kind) != wanted:
            raise ValueError(
                f'the bridge leads {side} "{name}" (hash {wanted[:12]}), not "{model.name}"; give the models that it '
                f'was fitted for, "{bridge.source}" and "{bridge.target}", or fit a new one'
            )
    if latents.space != "w+":
        return Latents("w", bridge(to_w(source, latents).data))
    layers = source.config.style_count, target.config.style_count
    if layers[0] != layers[1]:
        raise ValueError(
            f'w+ latents have a style for each of the {layers[0]} layers of "{source.name}"; "{target.name}" has '
            f"{layers[1]}: bridge z or w latents"
        )
    return Latents("w+", bridge(to_w_plus(source, latents).data))


def fit_bridge(source_w: Tensor, target_w: Tensor, fit: Fit = "auto", seed: int = 0) -> LatentBridge:
    """A bridge that maps source_w [N,A] to target_w [N,B] with little squared error, also for other w.

    The strength of the ridge is chosen by cross-validation. A fifth of the pairs, which neither has seen, decide how
    long the MLP is trained and, with "auto", whether it is added at all; then all pairs are used.
    """
    if source_w.ndim != 2 or target_w.ndim != 2 or len(source_w) != len(target_w):
        raise ValueError(
            f"pairs have shapes {tuple(source_w.shape)}, {tuple(target_w.shape)}, expected [N,A] and [N,B]"
        )
    if len(source_w) < FEWEST:
        raise ValueError(f"{len(source_w)} pairs are too few for a bridge; use at least {FEWEST}, better hundreds")
    if not bool(source_w.isfinite().all() and target_w.isfinite().all()):
        raise ValueError("some latents are not finite numbers; check the models")
    x, y = source_w.detach().cpu().double(), target_w.detach().cpu().double()
    ridge = _fit_ridge(x, y)
    if fit == "ridge":
        return ridge
    seen = torch.arange(len(x)) % FOLDS != 0
    first = _fit_ridge(x[seen], y[seen])
    of_ridge = _error(first, x[~seen], y[~seen])
    least, best_steps = math.inf, 0
    for steps, bridge in _train_mlp(first, x[seen], y[seen], seed):
        error = _error(bridge, x[~seen], y[~seen])
        if error < least:
            least, best_steps = error, steps
        elif steps >= best_steps + PATIENCE:
            break
    if fit == "auto" and least > BETTER * of_ridge:
        return ridge
    return next(bridge for steps, bridge in _train_mlp(ridge, x, y, seed) if steps == best_steps)


def _error(bridge: LatentBridge, x: Tensor, y: Tensor) -> float:
    return float((bridge(x) - y).square().mean())


def _fit_ridge(x: Tensor, y: Tensor) -> LatentBridge:
    """Ridge regression of float64 pairs; its strength has the least error in a cross-validation."""
    fold = torch.arange(len(x)) % FOLDS
    errors = torch.zeros(len(STRENGTHS), dtype=torch.double)
    for k in range(FOLDS):
        train, test = fold != k, fold == k
        origin, offset = x[train].mean(dim=0), y[train].mean(dim=0)
        for n, matrix in enumerate(_ridge_matrices(x[train] - origin, y[train] - offset)):
            errors[n] += (offset + (x[test] - origin) @ matrix - y[test]).square().sum()
    origin, offset = x.mean(dim=0), y.mean(dim=0)
    matrix = _ridge_matrices(x - origin, y - offset)[int(errors.argmin())]
    hidden, out = torch.zeros(x.shape[1], 0), torch.zeros(0, y.shape[1])
    return LatentBridge(origin.float(), offset.float(), matrix.float().contiguous(), hidden, torch.zeros(0), out)


def _ridge_matrices(x: Tensor, y: Tensor) -> list[Tensor]:
    """(X'X + strength I)^-1 X'Y of centred pairs, for each of STRENGTHS."""
    values, vectors = torch.linalg.eigh(x.T @ x)
    projected = vectors.T @ (x.T @ y)
    mean = values.mean().clamp(min=1e-12)
    return [vectors @ (projected / (values.clamp(min=0) + strength * mean)[:, None]) for strength in STRENGTHS]


def _train_mlp(ridge: LatentBridge, x: Tensor, y: Tensor, seed: int) -> Iterator[tuple[int, LatentBridge]]:
    """Bridges whose MLP has learned, for more and more steps, what the ridge regression leaves over.

    Inputs and what is left over are scaled to a variance of about 1; the scales become part of the weights.
    """
    inputs, residual = (x - ridge.origin).float(), (y - ridge(x)).float()
    scale = inputs.square().mean().sqrt().clamp(min=1e-12)
    residual_scale = residual.square().mean().sqrt().clamp(min=1e-12)
    with torch.inference_mode(False), torch.enable_grad():
        inputs, residual = (inputs / scale).clone(), (residual / residual_scale).clone()
        with seeded_init(seed):
            first, second = nn.Linear(x.shape[1], HIDDEN), nn.Linear(HIDDEN, y.shape[1], bias=False)
        nn.init.zeros_(second.weight)
        parameters = [*first.parameters(), *second.parameters()]
        optimizer = torch.optim.AdamW(parameters, LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    for step in range(1, STEPS + 1):
        rows = torch.randint(len(inputs), (BATCH,), generator=stream(seed, "bridge", step))
        with torch.inference_mode(False), torch.enable_grad():
            loss = F.mse_loss(second(F.leaky_relu(first(inputs[rows]), 0.2)), residual[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if step % CHECK_EVERY == 0:
            hidden, bias = (first.weight.detach().T / scale).contiguous(), first.bias.detach().clone()
            out = (second.weight.detach().T * residual_scale).contiguous()
            yield step, replace(ridge, hidden=hidden, hidden_bias=bias, out=out)
