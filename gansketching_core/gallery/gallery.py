"""A web page that shows a model: one folder, opened by a double click on index.html, without a server or a network.

Sliders move truncation, sketch strength and the main directions of w. Small generators are computed by the page itself
(page/engine.js, plain JavaScript with the weights in data.js), so that every position and any new sample can be seen.
Of large ones, for which a browser would take many seconds, images of a few positions are computed now.
"""

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..checkpoints.native import finite_copies
from ..files import atomic_write
from ..images import to_comfy
from ..latents.ganspace import Directions, edit, fit_directions
from ..latents.model_mixing import interpolate_models
from ..latents.sampling import OnBatch, SampleConfig, render, sample_z
from ..latents.spaces import Latents, to_w_plus, truncate
from ..networks.stylegan2 import ACTIVATION_GAIN, EqualLinear, GanModel, Mapping
from ..options import Options, option

PAGE = Path(__file__).parent / "page"
MARK = "<!-- gansketching gallery -->"  # in index.html: a folder with it may be written anew
LIVE_LIMIT = 1e9  # multiplications of an image that a browser computes in about two seconds at most
FIT_SAMPLES = 20_000  # for directions that are not given
TRUNCATIONS = (0.4, 0.6, 0.8, 1.0)  # positions of the sliders of a page without live images
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5)
STEPS = (-1.0, -0.5, 0.0, 0.5, 1.0)  # of a direction, times `reach`


class GalleryConfig(Options):
    """What a page shows."""

    title: str = option("", "Title of the page. Empty: the model's name.")
    count: int = option(8, "How many samples.", ge=1, le=64)
    seed: int = option(0, "Seed of the samples.", ge=0)
    directions: int = option(6, "Sliders for the main directions of variation (GANSpace).", ge=0, le=20)
    reach: float = option(3.0, "Largest step along a direction, in standard deviations.", gt=0, le=20)
    mode: Literal["auto", "live", "images"] = option(
        "auto",
        "live: the page computes all images itself; images: a few positions of the sliders are computed now; "
        "auto: live for models that a browser computes in seconds.",
    )


@dataclass(frozen=True)
class Gallery:
    index: Path  # the page to open
    live: bool
    size: int  # of the folder, in bytes


def write_gallery(
    model: GanModel,
    folder: str | Path,
    config: GalleryConfig = GalleryConfig(),  # noqa: B008 (frozen)
    *,
    original: GanModel | None = None,
    directions: Directions | None = None,
    label: int | None = None,
    on_batch: OnBatch = lambda *_: None,
) -> Gallery:
    """Write a page of a model into a folder, which is made if it does not exist.

    Args:
        folder: new, empty, or with an earlier page, which is replaced.
        original: the model that `model` was customised from; with it, a slider changes the sketch strength.
        directions: of w; None: they are fitted on `original`, else on `model`.
        label: the class of class-conditional models.
        on_batch: called with (images or samples done, in all); may raise to stop.

    Raises ValueError for a folder with other files, models without a common base, and weights that are NaN.
    """
    folder = _usable_folder(Path(folder))
    z = _samples(model, config, label)
    finite_copies({**model.generator.state_dict(), "w_mean": model.w_mean}, torch.float32)
    if original is not None:
        interpolate_models(original, model, 0.5, "w")  # raises for different bases
    live = config.mode == "live" or (config.mode == "auto" and multiplications(model) <= LIVE_LIMIT)
    if live:
        for each in (model, original):
            if each is not None:
                each.check_single_mapping()
    if not config.directions:
        directions = None
    elif directions is None:
        directions = _fit(original or model, config.directions, on_batch)
    else:
        directions = _first(directions, config.directions, model)
    page: dict[str, Any] = {
        "title": config.title or model.name or "A generator",
        "resolution": model.config.resolution,
        "live": live,
        "samples": config.count,
        "sliders": _sliders(live, config, original is not None, directions),
        "about": _about(model),
    }
    images: dict[str, list[str]] = {}
    if live:
        page["model"] = _network(model, original, directions, z)
    else:
        page["images"] = images = _write_images(model, original, directions, z, page["sliders"], folder, on_batch)
    for path in set((folder / "images").glob("*.jpg")) - {folder / name for names in images.values() for name in names}:
        path.unlink()  # of an earlier page
    data = f"const GALLERY = {json.dumps(page, separators=(',', ':'))};\n"
    for name, text in {"data.js": data, **_page_files()}.items():
        atomic_write(folder / name, lambda temporary, text=text: temporary.write_text(text, "utf-8"))
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Gallery(folder / "index.html", live, size)


def multiplications(model: GanModel) -> int:
    """How many the convolutions of one image take."""
    channels = model.config.channels
    counts = [16 * channels[0] ** 2]
    for k, (fan_in, fan_out) in enumerate(zip(channels, channels[1:])):
        area = (8 * 2**k) ** 2
        counts.append(area // 4 * fan_in * fan_out + area * fan_out**2)
    return 9 * sum(counts)


def _usable_folder(folder: Path) -> Path:
    index = folder / "index.html"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; choose a folder for the page")
    if folder.is_dir() and any(folder.iterdir()) and not (index.is_file() and MARK in index.read_text("utf-8")):
        raise ValueError(f"{folder} has other files; choose a new folder, or one with an earlier page")
    return folder


def _samples(model: GanModel, config: GalleryConfig, label: int | None) -> Latents:
    if model.config.class_count and label is None:
        raise ValueError(
            f'"{model.name}" is class-conditional, and a page shows one class: choose it, 0 to '
            f"{model.config.class_count - 1}"
        )
    return sample_z(model, config.count, config.seed, label)


def _fit(model: GanModel, count: int, on_batch: OnBatch) -> Directions:
    components, samples = min(count, model.config.w_dim), max(FIT_SAMPLES, 4 * model.config.w_dim)
    return fit_directions(model, components=components, samples=samples, on_batch=on_batch)


def _first(directions: Directions, count: int, model: GanModel) -> Directions:
    edit(model, Latents("w", model.w_mean[None]), directions, 0, 1.0)  # raises for directions of another model
    return replace(directions, components=directions.components[:count], stdev=directions.stdev[:count])


def _about(model: GanModel) -> str:
    """The line below the page: what the images come from, and the licence that has to go with them."""
    facts = [f"{model.name}, StyleGAN2 at {model.config.resolution} px"]
    facts += [f"{key}: {model.metadata[key]}" for key in ("licence", "license", "source") if model.metadata.get(key)]
    return ". ".join(facts) + "."


def _sliders(live: bool, config: GalleryConfig, strength: bool, directions: Directions | None) -> list[dict[str, Any]]:
    """id, label, default and positions of each: all from `low` to `high`, or those in `values`."""
    sliders = [_slider("truncation", "Truncation", 0.8, live, (0.0, 1.2), TRUNCATIONS)]
    if strength:
        sliders.append(_slider("strength", "Sketch strength", 1.0, live, (-0.5, 2.0), STRENGTHS))
    reach = config.reach
    for k in range(len(directions) if directions is not None else 0):
        values = [reach * step for step in STEPS]
        sliders.append(_slider(f"direction {k}", f"Direction {k}", 0.0, live, (-reach, reach), values))
    return sliders


def _slider(
    name: str, label: str, default: float, live: bool, span: tuple[float, float], values: Sequence[float]
) -> dict[str, Any]:
    positions = {"low": span[0], "high": span[1]} if live else {"values": list(values)}
    return {"id": name, "label": label, "default": default, **positions}


def _page_files() -> dict[str, str]:
    """The files that are the same for every page, index.html last: it is there when all others are."""
    names = ("style.css", "engine.js", "page.js", "index.html")
    return {name: (PAGE / name).read_text("utf-8") for name in names}


# ----------------------------------------------------------------------------------------------- computed by the page


class _Arrays:
    """Arrays of the page's data, one after the other: exact ones as float32, the others as float16."""

    def __init__(self):
        self.index: list[tuple[str, str, int]] = []
        self.parts: dict[str, list[bytes]] = {"exact": [], "half": []}

    def add(self, name: str, value: Tensor, *, exact: bool = False) -> None:
        pool, dtype = ("exact", torch.float32) if exact else ("half", torch.float16)
        array = finite_copies({name: value}, dtype)[name].numpy()
        self.parts[pool].append(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
        self.index.append((name, pool, array.size))

    def as_json(self) -> dict[str, Any]:
        return {
            "arrays": self.index,
            **{pool: _base64(b"".join(parts)) for pool, parts in self.parts.items()},
        }


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _network(model: GanModel, original: GanModel | None, directions: Directions | None, z: Latents) -> dict[str, Any]:
    """What engine.js computes images from. Scales are folded into the weights."""
    arrays = _Arrays()
    _add_mapping(arrays, "model", model.generator.mapping, model.w_mean, z)
    if original is not None:
        _add_mapping(arrays, "original", original.generator.mapping, original.w_mean, z)
    if model.details is not None:
        _add_mapping(arrays, "details", model.details.mapping, model.details.w_mean, z)
    if directions is not None:
        arrays.add("directions", directions.components * directions.stdev[:, None], exact=True)
    synthesis = model.generator.synthesis
    arrays.add("const", synthesis.const)
    layers: Any = synthesis.layers
    for k, layer in enumerate(layers):
        _add_linear(arrays, f"layers.{k}.affine", *layer.affine.folded())
        arrays.add(f"layers.{k}.weight", layer.weight / math.sqrt(layer.weight[0].numel()))
        arrays.add(f"layers.{k}.noise", layer.noise_const * (layer.noise_strength * ACTIVATION_GAIN))
        arrays.add(f"layers.{k}.bias", layer.bias * ACTIVATION_GAIN)
    to_rgb: Any = synthesis.to_rgb
    for k, layer in enumerate(to_rgb):
        _add_linear(arrays, f"rgb.{k}.affine", *layer.affine.folded())
        arrays.add(f"rgb.{k}.weight", layer.weight / math.sqrt(layer.weight.shape[1]))
        arrays.add(f"rgb.{k}.bias", layer.bias)
    shapes = [
        {"fanIn": layer.weight.shape[1], "fanOut": layer.weight.shape[0], "size": layer.size, "up": layer.up}
        for layer in layers
    ]
    return {
        "zSize": model.config.z_dim,
        "z": _base64(z.data.cpu().numpy().astype("<f4").tobytes()),
        "mappingLayers": model.config.mapping_layers,
        "original": original is not None,
        "detailsFrom": model.details and model.details.first,
        "clamp": model.config.conv_clamp,
        "layers": shapes,
        **arrays.as_json(),
    }


def _add_mapping(arrays: _Arrays, name: str, mapping: Any, w_mean: Tensor, z: Latents) -> None:
    z_dim = z.data.shape[1]
    assert isinstance(mapping, Mapping)
    for k, layer in enumerate(mapping.layers):
        assert isinstance(layer, EqualLinear)
        weight, bias = layer.folded()
        if k == 0 and mapping.embed is not None and z.labels is not None:  # the label is a part of this bias
            of_label, always = mapping.embed.folded()
            embedded = of_label[:, int(z.labels[0])] + always
            embedded = embedded * torch.rsqrt(embedded.square().mean() + 1e-8)
            weight, bias = weight[:, :z_dim], bias + weight[:, z_dim:] @ embedded
        _add_linear(arrays, f"{name}.{k}", weight, bias, exact=True)
    arrays.add(f"{name}.shift", mapping.w_shift, exact=True)
    arrays.add(f"{name}.mean", w_mean, exact=True)


def _add_linear(arrays: _Arrays, name: str, weight: Tensor, bias: Tensor, *, exact: bool = False) -> None:
    arrays.add(f"{name}.weight", weight, exact=exact)
    arrays.add(f"{name}.bias", bias, exact=exact)


# --------------------------------------------------------------------------------------------------------- computed now


def _write_images(
    model: GanModel,
    original: GanModel | None,
    directions: Directions | None,
    z: Latents,
    sliders: list[dict[str, Any]],
    folder: Path,
    on_batch: OnBatch,
) -> dict[str, list[str]]:
    """JPEG files of every sample at the sliders' positions -> their names, by positions as page.js writes them.

    Truncation and strength are combined with each other; each direction is moved with all others at their defaults.
    """
    default = sliders[0]["default"]
    shown: dict[str, Latents] = {}
    for strength in STRENGTHS if original is not None else (1.0,):
        mixed = model if original is None else interpolate_models(original, model, strength, "w")
        for psi in TRUNCATIONS:
            shown[_position(sliders, truncation=psi, strength=strength)] = to_w_plus(model, truncate(mixed, z, psi))
    start = to_w_plus(model, truncate(model, z, default))
    for component, slider in enumerate(slider for slider in sliders if slider["id"].startswith("direction")):
        assert directions is not None
        for value in slider["values"]:
            shown[_position(sliders, **{slider["id"]: value})] = edit(model, start, directions, component, value)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    names: dict[str, list[str]] = {}
    for number, (key, latents) in enumerate(shown.items()):
        names[key] = [f"images/{sample}_{number}.jpg" for sample in range(len(z))]
        for name, image in zip(names[key], to_comfy(render(model, latents, SampleConfig()))):
            _save_jpeg(image, folder / name)
        on_batch((number + 1) * len(z), len(shown) * len(z))
    return names


def _position(sliders: list[dict[str, Any]], **values: float) -> str:
    """Which of its values each slider has: "2 4 0"; where none is given, its default."""
    return " ".join(str(slider["values"].index(values.get(slider["id"], slider["default"]))) for slider in sliders)


def _save_jpeg(image: Tensor, path: Path) -> None:
    """image [H,W,3] in 0..1."""
    stream = io.BytesIO()
    Image.fromarray((image * 255).round().byte().numpy()).save(stream, "JPEG", quality=90)
    atomic_write(path, lambda temporary: temporary.write_bytes(stream.getvalue()))
