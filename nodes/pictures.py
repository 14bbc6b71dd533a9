"""Pictures that nodes show: labelled grids and loss curves, drawn with Pillow."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

GAP, MARGIN, TITLE = 4, 16, 22
SMALLEST_TILE, LARGEST_TILE = 128, 512
INK, FAINT, PAPER = (40, 40, 40), (225, 225, 225), (255, 255, 255)
COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189), (255, 127, 14), (23, 190, 207))


def to_pil(image: Tensor) -> Image.Image:
    """One picture of an IMAGE batch, [H,W,1 or 3] in 0..1 -> PIL."""
    array = (image[..., :3].float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array)


def to_image(picture: Image.Image) -> Tensor:
    """PIL -> IMAGE [1,H,W,3] in 0..1."""
    return torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255)[None]


def data_uri(picture: Image.Image, side: int, most: int) -> str:
    """A JPEG as text that a browser shows: its longer side at most `side`, less where it would need `most` letters."""
    picture, text = picture.convert("RGB"), ""
    while not text or len(text) >= most:
        picture.thumbnail((side, side))
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=80)
        text = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        side = side * 3 // 4
    return text


def labelled(parts: Sequence[tuple[str, Tensor]], *, columns: int = 0, across: bool = True) -> Image.Image:
    """Several IMAGE batches as one picture: a title and a grid for each, beside (across) or below each other.

    columns: of each grid; 0: about square. All pictures get the size of the last batch's, but 128 to 512 px.
    """
    side = min(max(*parts[-1][1].shape[1:3], SMALLEST_TILE), LARGEST_TILE)
    blocks = [_block(label, batch, columns or math.ceil(math.sqrt(len(batch))), side) for label, batch in parts]
    widths, heights = [b.width for b in blocks], [b.height for b in blocks]
    spaces = MARGIN * (len(blocks) - 1)
    size = (sum(widths) + spaces, max(heights)) if across else (max(widths), sum(heights) + spaces)
    sheet = Image.new("RGB", (size[0] + 2 * MARGIN, size[1] + 2 * MARGIN), PAPER)
    x = y = MARGIN
    for block in blocks:
        sheet.paste(block, (x, y))
        x, y = (x + block.width + MARGIN, y) if across else (x, y + block.height + MARGIN)
    return sheet


def _block(label: str, batch: Tensor, columns: int, side: int) -> Image.Image:
    """A title over a grid of all pictures of `batch`, their longer side scaled to `side`."""
    columns, scale = min(columns, len(batch)), side / max(batch.shape[1:3])
    width, height = (max(1, round(length * scale)) for length in (batch.shape[2], batch.shape[1]))
    top = TITLE if label else 0
    font = ImageFont.load_default(16)
    size = (columns * (width + GAP) - GAP, top + math.ceil(len(batch) / columns) * (height + GAP) - GAP)
    block = Image.new("RGB", (max(size[0], math.ceil(font.getlength(label))), size[1]), PAPER)
    ImageDraw.Draw(block).text((0, 0), label, fill=INK, font=font)
    for k, image in enumerate(batch):
        tile = to_pil(image).resize((width, height), Image.Resampling.BICUBIC)
        block.paste(tile, (k % columns * (width + GAP), top + k // columns * (height + GAP)))
    return block


# ------------------------------------------------------------------------------------------------------- loss curves


def loss_plot(series: dict[str, list[tuple[int, float]]], *, width: int = 768, height: int = 432) -> Image.Image:
    """Curves of (step, value) points by name. Faint: the values; strong: their running mean."""
    sheet = Image.new("RGB", (width, height), PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    series = {name: kept for name, points in series.items() if (kept := [p for p in points if math.isfinite(p[1])])}
    left, top, right, bottom = 64, 40, width - 20, height - 36
    every = [p for points in series.values() for p in points] or [(0, 0.0), (1, 1.0)]
    first, last = min(p[0] for p in every), max(p[0] for p in every)
    low, high = min(min(p[1] for p in every), 0.0), max(p[1] for p in every)
    high = high if high > low else low + 1.0

    def place(step: float, value: float) -> tuple[float, float]:
        along = (step - first) / max(last - first, 1)
        return left + along * (right - left), bottom - (value - low) / (high - low) * (bottom - top)

    for value in _ticks(low, high):
        y = place(first, value)[1]
        draw.line([(left, y), (right, y)], fill=FAINT)
        draw.text((left - 8, y), f"{value:g}", fill=INK, font=font, anchor="rm")
    for step in _ticks(first, max(last, first + 1)):
        x = place(step, low)[0]
        if step == int(step) and x <= right:
            draw.text((x, bottom + 6), f"{step:g}", fill=INK, font=font, anchor="mt")
    x = left
    for colour, (name, points) in zip(COLOURS * 4, series.items()):
        pale = tuple(c + (255 - c) * 2 // 3 for c in colour)
        draw.line([place(*p) for p in points], fill=pale)
        draw.line([place(*p) for p in _running_mean(points)], fill=colour, width=3)
        draw.text((x, 12), name, fill=colour, font=font)
        x += font.getlength(name) + 18
    return sheet


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high."""
    raw = (high - low) / 5
    unit = 10 ** math.floor(math.log10(raw))
    step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw)
    return [round(k * step, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _running_mean(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    weight = min(0.9, 1 - 1 / max(1, len(points) / 10))
    mean, smooth = points[0][1], []
    for step, value in points:
        mean = weight * mean + (1 - weight) * value
        smooth.append((step, mean))
    return smooth
