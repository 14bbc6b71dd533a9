"""Training a latent bridge on images: no latents are projected."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..images import resize
from ..latents.bridge import HIDDEN, LatentBridge
from ..latents.sampling import sample_z
from ..latents.spaces import Latents, to_w
from ..networks.stylegan2 import GanModel
from ..random_streams import seeded_init, stream

BATCH = 16  # latents in a step
LEARNING_RATE, BETAS, WARM_UP = 0.02, (0.9, 0.99), 10  # of Adam; steps in which the rate rises
COUNT = 4096  # latents of which the mean and covariance of w are taken
SMALLEST = 1e-3  # variance of w in a direction, as a share of the largest, below which the direction is ignored


class BridgeTrainer:
    """Trains a bridge so that the target's images of bridged w have the pixels of the source's images.

    Each step takes new random latents of the source, and makes the difference of the images smaller. Projecting pairs
    first takes many times as long. Training starts at the target's average image. No model is changed.

    Args:
        samples: latents to learn from.
        realism: weight of the squared distance of w from the target's mean, in standard deviations. Without it, w may
            go where images are like the source's and no longer like the target's.
        network: add a network with one hidden layer to the linear function.
        batch: images in memory at a time.
    """

    def __init__(
        self,
        source: GanModel,
        target: GanModel,
        *,
        samples: int,
        realism: float = 0.0,
        network: bool = True,
        batch: int = BATCH,
        seed: int = 0,
    ):
        self.source, self.target, self.seed = source, target, seed
        self.realism, self.batch = realism, batch
        self.poll: Callable[[], None] = lambda: None
        self.steps_total, self.steps_done = math.ceil(samples / BATCH), 0
        self.origin, self.whitening = _whitening(source)
        self.offset, self.target_whitening = _whitening(target)
        self.spread = float((to_w(target, sample_z(target, COUNT)).data - self.offset).square().mean().sqrt())
        inputs, outputs, device = self.whitening.shape[1], len(self.offset), self.offset.device
        with seeded_init(seed):
            self.linear = nn.Linear(inputs, outputs).to(device)
            self.hidden = nn.Linear(inputs, HIDDEN if network else 0).to(device)
            self.out = nn.Linear(HIDDEN if network else 0, outputs, bias=False).to(device)
        with torch.no_grad():
            for parameter in (*self.linear.parameters(), *self.out.parameters()):
                parameter.zero_()
        layers = nn.ModuleList([self.linear, self.hidden, self.out])
        self.parameters = [parameter for parameter in layers.parameters() if parameter.numel()]
        self.adam = torch.optim.Adam(self.parameters, LEARNING_RATE, betas=BETAS)

    @property
    def finished(self) -> bool:
        return self.steps_done >= self.steps_total

    def step(self) -> dict[str, float]:
        """A step on BATCH latents -> "psnr", of the mean squared difference of their images, in dB."""
        w, wanted = self._source_images()
        for group in self.adam.param_groups:
            group["lr"] = LEARNING_RATE * self._rate()
        self.adam.zero_grad()
        batches = zip(w.split(self.batch), wanted.split(self.batch))
        error = sum(self._accumulate_gradients(*part) for part in batches)
        self.adam.step()
        self.steps_done += 1
        return {"psnr": 10 * math.log10(4 / max(error, 1e-12))}

    @torch.enable_grad()
    def _accumulate_gradients(self, w: Tensor, wanted: Tensor) -> float:
        """-> these images' share of the step's squared error."""
        self.poll()
        bridged = self._bridged(w)
        error = F.mse_loss(self.target.generator.synthesize(bridged, noise="const"), wanted)
        distance = ((bridged - self.offset) @ self.target_whitening).square().mean()
        share = len(w) / BATCH
        torch.autograd.backward(share * (error + self.realism * distance), inputs=self.parameters)
        return share * error.item()

    @torch.no_grad()
    def _source_images(self) -> tuple[Tensor, Tensor]:
        """w [BATCH, A] of random latents, and their images in the target's size."""
        config, rng = self.source.config, stream(self.seed, "bridge", self.steps_done)
        z = torch.randn(BATCH, config.z_dim, generator=rng).to(self.origin)
        labels = torch.randint(config.class_count, (BATCH,), generator=rng) if config.class_count else None
        w = to_w(self.source, Latents("z", z, labels)).data
        parts = [self.source.generator.synthesize(part, noise="const") for part in w.split(self.batch)]
        return w, resize(torch.cat(parts), self.target.config.resolution).clamp(-1, 1)

    def _rate(self) -> float:
        """Rises at first, then is constant, and falls to 0 in the second half."""
        return min(1, (self.steps_done + 1) / WARM_UP, 2 * (1 - self.steps_done / self.steps_total))

    def _bridged(self, w: Tensor) -> Tensor:
        x = (w - self.origin) @ self.whitening
        y = self.linear(x / math.sqrt(x.shape[1])) + self.out(F.leaky_relu(self.hidden(x), 0.2))
        return self.offset + self.spread * y

    @torch.no_grad()
    def bridge(self) -> LatentBridge:
        """What has been learned so far."""
        whitening = self.whitening.cpu()
        linear, hidden, out = (layer.weight.cpu().T.contiguous() for layer in (self.linear, self.hidden, self.out))
        return LatentBridge(
            origin=self.origin.cpu(),
            offset=self.offset.cpu() + self.spread * self.linear.bias.cpu(),
            matrix=self.spread / math.sqrt(whitening.shape[1]) * whitening @ linear,
            hidden=whitening @ hidden,
            hidden_bias=self.hidden.bias.cpu().clone(),
            out=self.spread * out,
            kind="none",
        )

    def state(self) -> dict[str, Tensor]:
        """Tensors to go on from, for `restore`."""
        tensors = {"steps_done": torch.tensor(self.steps_done)}
        for number, parameter in enumerate(self.parameters):
            tensors[f"{number}.value"] = parameter.detach().clone()
            for name in ("exp_avg", "exp_avg_sq"):
                tensors[f"{number}.{name}"] = self.adam.state[parameter][name].clone()
        return tensors

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Goes on from a state of a trainer with the same models and options."""
        self.steps_done = int(state["steps_done"])
        for number, parameter in enumerate(self.parameters):
            parameter.copy_(state[f"{number}.value"])
            averages = {name: state[f"{number}.{name}"].to(parameter) for name in ("exp_avg", "exp_avg_sq")}
            self.adam.state[parameter] = {"step": torch.tensor(float(self.steps_done)), **averages}


def _whitening(model: GanModel) -> tuple[Tensor, Tensor]:
    """The mean of w [C], and a matrix [C, D] such that (w - mean) @ matrix has covariance 1."""
    w = to_w(model, sample_z(model, COUNT)).data
    mean = w.mean(dim=0)
    variances, directions = torch.linalg.eigh((w - mean).T.cpu().double() @ (w - mean).cpu().double() / len(w))
    kept = variances > SMALLEST * variances[-1]
    return mean, (directions[:, kept] / variances[kept].sqrt()).to(w)
