"""Pictures that nodes show: labelled grids and loss plots, made with Pillow."""

import base64
import io
import itertools
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
    """One image of an IMAGE batch, [H,W,1 or 3 or 4] in 0..1 -> PIL."""
    array = (image[..., :3].float().clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()
    return Image.fromarray(array.squeeze(2) if array.shape[2] == 1 else array).convert("RGB")


def to_image(picture: Image.Image) -> Tensor:
    """PIL -> IMAGE [1,H,W,3] in 0..1."""
    return torch.from_numpy(np.asarray(picture.convert("RGB")).astype(np.float32) / 255)[None]


def data_uri(picture: Image.Image, side: int, longest: float = math.inf) -> str:
    """The picture as a JPEG in text form for a browser.

    Its longer side becomes at most `side` pixels, fewer if the text would be longer than `longest` characters.
    """
    picture = picture.convert("RGB")
    picture.thumbnail((side, side))
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=80)
    text = f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
    return text if len(text) <= longest else data_uri(picture, side * 3 // 4, longest)


def labelled(parts: Sequence[tuple[str, Tensor]], *, columns: int = 0, across: bool = True) -> Image.Image:
    """Several IMAGE batches as one picture: a title and a grid for each, in a row (across) or one below the other.

    All grids have the same number of columns, so that image k of each batch is in the same position; 0: as many as make
    the largest grid about square. All images get the size of the last batch's, within 128 to 512 px.
    """
    largest = max(len(batch) for _, batch in parts)
    columns = columns or math.ceil(math.sqrt(largest))
    side = min(max(*parts[-1][1].shape[1:3], SMALLEST_TILE), LARGEST_TILE)
    blocks = [_block(label, batch, columns, side) for label, batch in parts]
    if across:
        width = sum(block.width + MARGIN for block in blocks)
        height = max(block.height for block in blocks) + MARGIN
    else:
        width = max(block.width for block in blocks) + MARGIN
        height = sum(block.height + MARGIN for block in blocks)
    sheet = Image.new("RGB", (width + MARGIN, height + MARGIN), PAPER)
    x = y = MARGIN
    for block in blocks:
        sheet.paste(block, (x, y))
        if across:
            x += block.width + MARGIN
        else:
            y += block.height + MARGIN
    return sheet


def _block(label: str, batch: Tensor, columns: int, side: int) -> Image.Image:
    """A title over a grid of all images of `batch`, their longer side scaled to `side`."""
    if not len(batch):
        raise ValueError(f'there are no images for "{label}": connect a batch of one or more')
    columns = min(columns, len(batch))
    scale = side / max(batch.shape[1:3])
    height, width = (max(1, round(length * scale)) for length in batch.shape[1:3])
    top = TITLE if label else 0
    font = ImageFont.load_default(16)
    grid_width = columns * (width + GAP) - GAP
    grid_height = math.ceil(len(batch) / columns) * (height + GAP) - GAP
    block = Image.new("RGB", (max(grid_width, math.ceil(font.getlength(label))), top + grid_height), PAPER)
    ImageDraw.Draw(block).text((0, 0), label, fill=INK, font=font)
    for k, image in enumerate(batch):
        row, column = divmod(k, columns)
        tile = to_pil(image).resize((width, height), Image.Resampling.BICUBIC)
        block.paste(tile, (column * (width + GAP), top + row * (height + GAP)))
    return block


def loss_plot(series: dict[str, list[tuple[int, float]]], *, width: int = 768, height: int = 432) -> Image.Image:
    """Curves of (step, value) points by name: the values in pale colours, their running means in strong ones."""
    sheet = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(13)
    left, top, right, bottom = 64, 40, width - 20, height - 36
    every = [point for points in series.values() for point in points] or [(0, 0.0), (1, 1.0)]
    steps = [step for step, _ in every]
    values = [value for _, value in every]
    first, last = min(steps), max(steps)
    low, high = min([0.0, *values]), max(values)
    if high <= low:
        high = low + 1.0

    def position(step: float, value: float) -> tuple[float, float]:
        x = left + (step - first) / max(last - first, 1) * (right - left)
        y = bottom - (value - low) / (high - low) * (bottom - top)
        return x, y

    for value in _ticks(low, high):
        y = position(first, value)[1]
        draw.line([(left, y), (right, y)], fill=FAINT)
        draw.text((left - 8, y), f"{value:g}", fill=INK, font=font, anchor="rm")
    for step in _ticks(first, max(last, first + 1)):
        x = position(step, low)[0]
        if step == int(step) and x <= right:
            draw.text((x, bottom + 6), f"{step:g}", fill=INK, font=font, anchor="mt")
    x = left
    for (name, points), colour in zip(series.items(), itertools.cycle(COLOURS)):
        pale = tuple(c + (255 - c) * 2 // 3 for c in colour)
        draw.line([position(*point) for point in points], fill=pale)
        draw.line([position(*point) for point in _running_mean(points)], fill=colour, width=3)
        draw.text((x, 12), name, fill=colour, font=font)
        x += font.getlength(name) + 18
    return sheet


def _ticks(low: float, high: float) -> list[float]:
    """About five round numbers from low to high."""
    fifth = (high - low) / 5
    unit = 10 ** math.floor(math.log10(fifth))
    step = next(factor * unit for factor in (1, 2, 5, 10) if factor * unit >= fifth)
    return [round(k * step, 10) for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _running_mean(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    weight = min(0.9, 1 - 1 / max(1, len(points) / 10))
    mean = points[0][1]
    smooth = []
    for step, value in points:
        mean = weight * mean + (1 - weight) * value
        smooth.append((step, mean))
    return smooth
