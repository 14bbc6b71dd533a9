"""Pictures for a base model of horses, from "Horses or Humans" (Laurence Moroney, CC BY 2.0).

    python tools/horse_pictures.py horses300.zip FOLDER

writes FOLDER/white, the rendered horses on white, and FOLDER/backgrounds, landscapes without horses: the left and the
right margin of renderings in which the horse stands in the middle, enlarged and blended. Train with

    gansketching pretrain FOLDER/white --backgrounds FOLDER/backgrounds --zoom-out 0.75 --shift 0.08 --tint 0.4 ...
"""

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

# Rendering -> share of its width, on either side, that is free of the horse.
MARGINS = {
    **{f"{scene}-0": 0.34 for scene in ("12", "14", "27", "28", "29", "30", "31", "32", "33", "34", "50")},
    **{"21-6": 0.34, "03-4": 0.28, "04-4": 0.28, "05-4": 0.28, "21-3": 0.28, "43-1": 0.28},
    **{"01-5": 0.26, "02-5": 0.26, "06-4": 0.26, "19-9": 0.26, "22-6": 0.26, "42-1": 0.26, "49-0": 0.26},
    **{"10-3": 0.24, "15-0": 0.24, "11-6": 0.22, "13-4": 0.22, "14-1": 0.22, "16-8": 0.22, "17-7": 0.22},
    **{"18-7": 0.22, "40-1": 0.22, "41-1": 0.22, "19-3": 0.2},
}
FADE = 0.1  # share of the width over which the two halves are blended
SIDE = 256  # pixels of the landscapes


def landscape(picture: Image.Image, margin: float) -> Image.Image:
    """The margins of a square picture, each enlarged to a little over half of its width, blended in the middle."""
    side = picture.width
    strip, half = round(margin * side), round((0.5 + FADE / 2) * side)
    left = np.asarray(picture.crop((0, 0, strip, side)).resize((half, side), Image.Resampling.BICUBIC), float)
    right = np.asarray(
        picture.crop((side - strip, 0, side, side)).resize((half, side), Image.Resampling.BICUBIC), float
    )
    share = np.clip((np.arange(side) - (side - half)) / (2 * half - side), 0, 1)[None, :, None]
    left = np.pad(left, ((0, 0), (0, side - half), (0, 0)))
    right = np.pad(right, ((0, 0), (side - half, 0), (0, 0)))
    pixels = (left * (1 - share) + right * share).round().astype(np.uint8)
    return Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, help="horses300.zip, with the folders scene and white")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    args = parser.parse_args()
    for name in ("white", "backgrounds"):
        (args.folder / name).mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(args.pictures) as archive:
        for name in archive.namelist():
            if name.startswith("white/") and name.endswith(".webp"):
                (args.folder / "white" / Path(name).name).write_bytes(archive.read(name))
        for name, margin in MARGINS.items():
            picture = Image.open(io.BytesIO(archive.read(f"scene/horse{name}.webp"))).convert("RGB")
            landscape(picture, margin).save(args.folder / "backgrounds" / f"{name}.png")


if __name__ == "__main__":
    main()
