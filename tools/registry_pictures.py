"""Makes the icon and the banner that ComfyUI's registry shows, from the picture at the top of the README.

    python tools/registry_pictures.py

Run it again when docs/banana.png has changed. It writes docs/icon.png and docs/banner.png.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

DOCS = Path(__file__).resolve().parent.parent / "docs"
TILE, STEP, TOP = 128, 132, 38  # pixels of the README's picture: a tile, a tile with its gap, the first row
SKETCHES, SAMPLES = 16, 1096  # its first columns of sketches and of customised samples
GOOD_SAMPLES = [(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (2, 0), (2, 2), (3, 1), (3, 0), (3, 3), (2, 3)]
ICON = 400
BANNER = (1680, 720)  # 21:9
INK, PAPER = (63, 120, 158), (255, 255, 255)


def tile(source: Image.Image, left: int, row: int, column: int, side: int) -> Image.Image:
    x, y = left + column * STEP, TOP + row * STEP
    return source.crop((x, y, x + TILE, y + TILE)).resize((side, side), Image.Resampling.LANCZOS)


def arrow(draw: ImageDraw.ImageDraw, x: int, y: int, size: int, *, down: bool = False) -> None:
    """A triangle with its middle at (x, y)."""
    half = size // 2
    points = [(-half, -size), (-half, size), (half, 0)]
    draw.polygon([(x + b, y + a) if down else (x + a, y + b) for a, b in points], fill=INK)


def icon(source: Image.Image) -> Image.Image:
    """A sketch above a sample."""
    picture = Image.new("RGB", (ICON, ICON), PAPER)
    side = 240
    left = (ICON - side) // 2
    sketch, sample = tile(source, SKETCHES, 0, 0, side), tile(source, SAMPLES, 0, 0, side)
    picture.paste(sketch.crop((0, 50, side, 190)), (left, 20))
    picture.paste(sample.crop((0, 50, side, 190)), (left, 240))
    draw = ImageDraw.Draw(picture)
    arrow(draw, ICON // 2, 200, 28, down=True)
    draw.rounded_rectangle((3, 3, ICON - 4, ICON - 4), 40, outline=INK, width=6)
    return picture


def banner(source: Image.Image) -> Image.Image:
    """Six sketches, an arrow, twelve samples."""
    picture = Image.new("RGB", BANNER, PAPER)
    side, gap = 220, 15
    top = (BANNER[1] - 3 * side) // 2
    for row in range(3):
        for column in range(2):
            picture.paste(tile(source, SKETCHES, row, column, side), (30 + column * (side + gap), top + row * side))
    for k, (row, column) in enumerate(GOOD_SAMPLES):
        x, y = 690 + k % 4 * (side + gap), top + k // 4 * side
        picture.paste(tile(source, SAMPLES, row, column, side), (x, y))
    arrow(ImageDraw.Draw(picture), 580, BANNER[1] // 2, 56)
    return picture


def main() -> None:
    with Image.open(DOCS / "banana.png") as file:
        source = file.convert("RGB")
    icon(source).save(DOCS / "icon.png", optimize=True)
    banner(source).save(DOCS / "banner.png", optimize=True)


if __name__ == "__main__":
    main()
