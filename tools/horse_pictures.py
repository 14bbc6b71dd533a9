"""Pictures for a base model of horses, from "Horses or Humans" (Laurence Moroney, CC BY 2.0).

    python tools/horse_pictures.py horses300.zip FOLDER

writes FOLDER/white, the rendered horses on white, each framed: in the middle, its longer side FILLED of the picture's;
and FOLDER/backgrounds, landscapes without horses: the left and the right margin of renderings in which the horse stands
in the middle, enlarged and blended. Horses of which the edge of the rendering cuts off more than a tip are left out.
FOLDER/poses has a folder of pictures for each of five poses: one horse in the colours of all others, before all
landscapes, placed as `gansketching pretrain` does. They are for `gansketching study poses`.
"""

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from gansketching_core.training.backgrounds import colours_of, cut_out, is_cropped
from gansketching_core.training.placement import PlacementConfig, placed

FILLED = 0.86  # share of the picture's side
CUT_OFF = 0.13  # share of a rendering's side over which the horse may reach its edge
# Rendering -> share of its width, on either side, that is free of the horse.
MARGINS = {
    **{f"{scene}-0": 0.34 for scene in ("12", "14", "27", "28", "29", "30", "31", "32", "33", "34", "50")},
    **{"21-6": 0.34, "03-4": 0.28, "04-4": 0.28, "05-4": 0.28, "21-3": 0.28, "43-1": 0.28},
    **{"01-5": 0.26, "02-5": 0.26, "06-4": 0.26, "19-9": 0.26, "22-6": 0.26, "42-1": 0.26, "49-0": 0.26},
    **{"10-3": 0.24, "15-0": 0.24, "11-6": 0.22, "13-4": 0.22, "14-1": 0.22, "16-8": 0.22, "17-7": 0.22},
    **{"18-7": 0.22, "40-1": 0.22, "41-1": 0.22, "19-3": 0.2},
}
FADE = 0.1  # share of the width over which the two halves are blended
SIDE = 256  # pixels of all pictures
POSES = {  # renderings without background
    "rearing": "horse3-440",
    "galloping": "horse1-411",
    "standing": "horse4-588",
    "from-the-front": "horse2-596",
    "head-down": "horse3-070",
}
POSE_PICTURES = 300  # of each pose
PLACEMENT = PlacementConfig(flip=False, zoom_out=0.94, shift=0.03, tint=0.15)  # of the horse model's training


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


def framed(picture: Image.Image) -> Image.Image | None:
    """The horse of a picture on white in the middle of a square; None if it is cut off."""
    layers = cut_out(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None])
    if is_cropped(layers, CUT_OFF):
        return None
    down, right = np.nonzero(layers[0, 3].numpy() > 127)
    top, bottom, start, end = down.min(), down.max() + 1, right.min(), right.max() + 1
    side = round(max(bottom - top, end - start) / FILLED)
    canvas = Image.new("RGB", (side, side), "white")
    canvas.paste(picture, (round((side - start - end) / 2), round((side - top - bottom) / 2)))
    return canvas.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def read(files: list[Path]) -> torch.Tensor:
    """Pictures -> uint8 [N,3,S,S]."""
    return torch.from_numpy(np.stack([np.array(Image.open(file)) for file in files])).permute(0, 3, 1, 2)


def write_poses(folder: Path) -> None:
    """The pictures of poses, from those in FOLDER/white and FOLDER/backgrounds."""
    names = sorted((folder / "white").glob("*.png"))
    horses, landscapes = cut_out(read(names)), read(sorted((folder / "backgrounds").glob("*.png")))
    colours = colours_of(horses)
    rng = torch.Generator().manual_seed(0)
    for pose, name in POSES.items():
        horse = horses[names.index(folder / "white" / f"{name}.png")].expand(POSE_PICTURES, -1, -1, -1)
        coats, behind = (x[torch.randint(len(x), (POSE_PICTURES,), generator=rng)] for x in (colours, landscapes))
        images = placed(horse, SIDE, PLACEMENT, rng, behind, coats)
        (folder / "poses" / pose).mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(((images + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()):
            Image.fromarray(image).save(folder / "poses" / pose / f"{number:03}.png")


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
                horse = framed(Image.open(io.BytesIO(archive.read(name))).convert("RGB"))
                if horse:
                    horse.save(args.folder / "white" / f"{Path(name).stem}.png")
        for name, margin in MARGINS.items():
            picture = Image.open(io.BytesIO(archive.read(f"scene/horse{name}.webp"))).convert("RGB")
            landscape(picture, margin).save(args.folder / "backgrounds" / f"{name}.png")
    write_poses(args.folder)


if __name__ == "__main__":
    main()
