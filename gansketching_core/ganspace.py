"""GANSpace (Härkönen et al., NeurIPS 2020, arXiv 2004.02546): principal directions of w.

Where GANSpace uses incremental PCA, the covariance here is summed exactly in float64 and taken apart by `eigh`: for
w of at most a few thousand numbers this is the plain PCA of all samples, and faster.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from . import draws
from .checkpoints import atomic_write
from .latents import Latents, SampleConfig, layer_range, render, to_w, to_w_plus, truncate
from .stylegan2 import GanModel

CHUNK = 10_000
LARGEST_ARRAY = 2**28  # bytes; 4096 components of 512 numbers are 8 MB


@dataclass(frozen=True)
class Directions:
    """Principal directions of w, the one with the largest spread first.

    components [K, w_dim]: orthonormal; mean [w_dim]; stdev [K]: spread of w along each; name: the model they are from.
    """

    components: Tensor
    mean: Tensor
    stdev: Tensor
    name: str = ""

    def __post_init__(self):
        shapes = [tuple(x.shape) for x in (self.components, self.mean, self.stdev)]
        if len(shapes[0]) != 2 or shapes[1:] != [(shapes[0][1],), (shapes[0][0],)] or 0 in shapes[0]:
            raise ValueError(f"directions have shapes {shapes}, expected [K, w_dim], [w_dim] and [K]")

    def __len__(self) -> int:
        return len(self.components)


@torch.no_grad()
def fit_directions(
    model: GanModel,
    *,
    components: int = 80,
    samples: int = 100_000,
    seed: int = 0,
    on_batch: Callable[[int, int], None] | None = None,
) -> Directions:
    """PCA of the w of `samples` random z. The sign of a component is such that its largest number is positive.

    on_batch is called with (samples done, in all) after each chunk and may raise to stop.
    """
    w_dim = model.config.w_dim
    if not 1 <= components <= w_dim:
        raise ValueError(f'components is {components}; the w of "{model.name}" have 1 to {w_dim} directions')
    if samples <= w_dim:
        raise ValueError(f"samples is {samples}; PCA of w with {w_dim} numbers needs more than that, better 100000")
    centre = model.w_mean.double()  # near the mean, so that subtracting its square loses nothing
    total, square = torch.zeros_like(centre), torch.zeros(w_dim, w_dim).to(centre)
    for start in range(0, samples, CHUNK):
        count = min(CHUNK, samples - start)
        z = torch.randn(count, model.config.z_dim, generator=draws.generator(seed, start)).to(model.w_mean)
        classes = model.config.class_count
        labels = (torch.arange(start, start + count) % classes).to(z.device) if classes else None
        w = to_w(model, Latents("z", z, labels)).data.double() - centre
        total += w.sum(dim=0)
        square += w.T @ w
        if on_batch is not None:
            on_batch(start + count, samples)
    mean = total / samples
    covariance = (square - samples * torch.outer(mean, mean)) / (samples - 1)
    variances, vectors = torch.linalg.eigh(covariance)
    vectors = vectors.flip(1).T[:components]
    largest = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    return Directions(
        (vectors * largest.sign()).float(),
        (centre + mean).float(),
        variances.flip(0)[:components].clamp(min=0).sqrt().float(),
        model.name,
    )


def edit(
    model: GanModel,
    latents: Latents,
    directions: Directions,
    component: int,
    strength: float | Tensor,
    *,
    first: int = 0,
    last: int | None = None,
    psi: float = 1.0,
    before_truncation: bool = False,
) -> Latents:
    """w+ moved along one component by `strength` standard deviations in layers first..last, both included.

    strength: one number or one for each sample [N]. psi: truncation, applied here: by default first, so that an edit
    is as strong in truncated samples; before_truncation makes it scale the edit too, as "Sketch Your Own GAN" does.
    Render the result without truncation.
    """
    if not 0 <= component < len(directions):
        raise ValueError(f"component {component}: there are {len(directions)} directions, 0 to {len(directions) - 1}")
    if directions.components.shape[1] != model.config.w_dim:
        raise ValueError(
            f'directions of {directions.components.shape[1]} numbers do not fit the model "{model.name}", whose w have '
            f"{model.config.w_dim}; fit directions on this model or the one it was customised from"
        )
    layers = layer_range(model, first, last)
    ws = (to_w_plus(model, latents) if before_truncation else to_w_plus(model, truncate(model, latents, psi))).data
    sigma = directions.stdev[component].to(ws)
    amount = torch.as_tensor(strength).to(ws).reshape(-1, 1, 1) * sigma
    ws = ws.repeat(len(amount) if len(ws) == 1 else 1, 1, 1)
    ws[:, layers] += amount * directions.components[component].to(ws)
    edited = Latents("w+", ws)
    return truncate(model, edited, psi) if before_truncation else edited


def sheet(
    model: GanModel,
    latents: Latents,
    directions: Directions,
    *,
    components: int = 10,
    strengths: tuple[float, ...] = (-2.0, -1.0, 0.0, 1.0, 2.0),
    first: int = 0,
    last: int | None = None,
    psi: float = 1.0,
    noise: str = "const",
    batch: int = 8,
    on_batch: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Images [K * len(strengths),3,R,R]: one latent moved along each of the first K components, a row for each.

    Lay them out with len(strengths) columns to find a useful direction by eye.
    """
    if not 1 <= components <= len(directions):
        raise ValueError(f"components is {components}; there are {len(directions)} directions")
    if len(latents) != 1:
        raise ValueError(f"a sheet shows one latent, {len(latents)} given")
    steps = torch.tensor(strengths)
    rows = [edit(model, latents, directions, k, steps, first=first, last=last, psi=psi) for k in range(components)]
    every = Latents("w+", torch.cat([row.data for row in rows]))
    return render(model, every, SampleConfig(noise=noise), batch=batch, on_batch=on_batch)


# ------------------------------------------------------------------------------------------------------------- files


def save_directions(directions: Directions, path: str | Path) -> None:
    """Writes a .safetensors file."""
    tensors = {key: getattr(directions, key).cpu().contiguous() for key in ("components", "mean", "stdev")}
    metadata = {"kind": "gansketching directions", "model": directions.name}
    atomic_write(Path(path), lambda partial: save_file(tensors, partial, metadata=metadata))


def load_directions(path: str | Path) -> Directions:
    """Directions from a .safetensors file of save_directions, or from a published GANSpace .npz."""
    path = Path(path)
    arrays, name = _read_npz(path) if path.suffix.lower() == ".npz" else _read_safetensors(path)
    if not all(tensor.is_floating_point() and bool(tensor.isfinite().all()) for tensor in arrays):
        raise ValueError(f"{path} is damaged: its directions are not finite numbers")
    try:
        directions = Directions(*(tensor.float() for tensor in arrays), name)
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    gram = directions.components @ directions.components.T
    if not torch.allclose(gram, torch.eye(len(gram)), atol=1e-2):
        raise ValueError(f"{path} is damaged: its directions are not orthonormal")
    return directions


def _read_safetensors(path: Path) -> tuple[list[Tensor], str]:
    try:
        with safe_open(path, "pt") as file:
            name = (file.metadata() or {}).get("model", "")
            missing = {"components", "mean", "stdev"} - set(file.keys())
            if missing:
                raise ValueError(f"{path} holds no directions ({', '.join(sorted(missing))} missing)")
            return [file.get_tensor(key) for key in ("components", "mean", "stdev")], name
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error


def _read_npz(path: Path) -> tuple[list[Tensor], str]:
    """lat_comp [K,1,w_dim], lat_mean [1,w_dim] or [1,1,w_dim], lat_stdev [K]."""
    components, mean, stdev = _unpack(path, ("lat_comp", "lat_mean", "lat_stdev"))
    if components.ndim != 3 or components.shape[1] != 1 or mean.size != components.shape[2]:
        raise ValueError(
            f"{path} has directions of shape {components.shape} and mean {mean.shape}; expected [K,1,w_dim] and "
            "[1,w_dim], as GANSpace computes them for the style space of StyleGAN2"
        )
    return [torch.from_numpy(x) for x in (components[:, 0], mean.reshape(-1), stdev)], path.stem


def _unpack(path: Path, keys: tuple[str, ...]) -> list[np.ndarray]:
    """Arrays of an .npz as float32, unless one is pickled, missing or unreasonably large."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename: entry.file_size for entry in archive.infolist()}
        for key in keys:
            if f"{key}.npy" not in sizes:
                raise ValueError(f"{key} is missing; give a file that GANSpace computed for a StyleGAN2")
            if sizes[f"{key}.npy"] > LARGEST_ARRAY:
                raise ValueError(f"{key} would take {sizes[f'{key}.npy'] / 2**20:.0f} MiB")
        with np.load(path, allow_pickle=False) as file:
            return [file[key].astype(np.float32, casting="same_kind") for key in keys]
    except (
        zipfile.BadZipFile,
        zlib.error,
        OSError,
        EOFError,
        MemoryError,
        ValueError,
        TypeError,
        SyntaxError,
    ) as error:
        raise ValueError(f"{path} can't be read as GANSpace directions: {error}") from error
