"""Makes the pictures of the README, of the templates and of the help pages, with the bundled models.

    python tools/pictures.py [--work FOLDER]

Run it after the bundled models or the fast preset have changed. Results of the workflows are kept in FOLDER
(build/pictures), so that a second run only makes the pictures again. Screenshots are taken by hand: docs/1_drawing.jpg,
2_training.jpg and 3_samples.jpg, and sketch_pad.jpg, training.jpg and get_model.jpg of the help pages.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from gansketching_core.cli.pack import load_pack  # noqa: E402

load_pack()
from gansketching_pack import gansketching_core as core  # noqa: E402
from gansketching_pack.gansketching_core import ganspace, latents  # noqa: E402
from gansketching_pack.nodes.pictures import labelled  # noqa: E402

HELP = ROOT / "nodes" / "web" / "docs"
WIDE, QUALITY = 800, 88  # of help pictures and thumbnails
THUMBNAIL = (720, 480)
SEED = 1


def write(picture: Image.Image, path: Path, width: int = WIDE) -> None:
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    picture.convert("RGB").save(path, quality=QUALITY)


# --------------------------------------------------------------------------------------------------------- workflows


def run(name: str, work: Path) -> dict[str, list[Path]]:
    """The workflow's pictures by the name they are saved under; a batch has several."""
    output = work / name
    if not output.is_dir():
        command = [sys.executable, "-m", "gansketching_core.cli", "run", name, "--output-dir", str(output)]
        subprocess.run(command, cwd=ROOT, check=True)
    found: dict[str, list[Path]] = {}
    for path in sorted((output / "gansketching").iterdir()):
        if path.suffix in (".png", ".webp"):
            found.setdefault(path.name.rsplit("_0", 1)[0], []).append(path)
    return found


def below_each_other(paths: list[Path]) -> Image.Image:
    parts = [Image.open(path).convert("RGB") for path in paths]
    sheet = Image.new("RGB", (max(p.width for p in parts), sum(p.height for p in parts)), "white")
    for k, part in enumerate(parts):
        sheet.paste(part, (0, sum(p.height for p in parts[:k])))
    return sheet


def frames(path: Path, count: int, columns: int) -> Image.Image:
    """Some frames of a film as a grid."""
    with Image.open(path) as film:
        shown = []
        for k in range(count):
            film.seek(k * film.n_frames // count)
            shown.append(film.convert("RGB"))
    side = shown[0].size
    sheet = Image.new("RGB", (columns * side[0], -(-count // columns) * side[1]), "white")
    for k, frame in enumerate(shown):
        sheet.paste(frame, (k % columns * side[0], k // columns * side[1]))
    return sheet


def thumbnail(picture: Image.Image, path: Path) -> None:
    """The whole picture on white, all thumbnails of one shape: the editor crops others."""
    picture = picture.convert("RGB")
    picture.thumbnail((THUMBNAIL[0] - 24, THUMBNAIL[1] - 24), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", THUMBNAIL, "white")
    sheet.paste(picture, ((THUMBNAIL[0] - picture.width) // 2, (THUMBNAIL[1] - picture.height) // 2))
    sheet.save(path, quality=QUALITY)


def workflow_pictures(work: Path) -> None:
    stills = {
        "draw_your_own_gan": "draw_your_own_gan",
        "ganspace": "directions",
        "photo_editing": "photo_editing",
        "sketch_to_image": "sketch_to_image",
        "sketch_your_own_gan": "sketch_your_own_gan",
        "style_mixing": "style_mixing",
    }
    for name, saved in stills.items():
        picture = below_each_other(run(name, work)[saved])
        thumbnail(picture, ROOT / "workflows" / f"{name}.jpg")
        if name in ("sketch_your_own_gan", "photo_editing"):
            picture.save(ROOT / "docs" / f"{name}.png", optimize=True)
        if name == "sketch_your_own_gan":
            write(picture, HELP / "customised.jpg")
        if name == "sketch_to_image":
            write(picture, HELP / "found.jpg")
    for name in ("latent_walk", "model_interpolation"):
        (film,) = run(name, work)[name]
        thumbnail(frames(film, 6, 3), ROOT / "workflows" / f"{name}.jpg")


# -------------------------------------------------------------------------------------------------------- help pages


class HelpPictures:
    """The pictures of the help pages, all of the same models, sketches, photos and latents."""

    def __init__(self, work: Path):
        self.work = work
        self.model = core.load_model(ROOT / "weights" / "fruit.safetensors")
        self.sketcher = core.load_photosketch(ROOT / "weights" / "sketcher.safetensors")
        self.bananas = core.load_images(ROOT / "samples" / "sketches" / "banana")
        photos = core.ImageSet(ROOT / "samples" / "photos", 256)
        self.photos = photos.batch(torch.arange(len(photos)))
        self.z, self.softer = core.sample_z(self.model, 8, SEED), core.SampleConfig(truncation=0.7)

    def make(self) -> None:
        self.sampling()
        self.drawing()
        self.customising()
        self.editing()

    def seen(self, w, by=None, options=None):
        return core.to_comfy(core.render(by or self.model, w, options or self.softer))

    def drawn(self, by):
        return core.to_comfy(self.sketcher(core.render(by, self.z, self.softer).clamp(-1, 1)))

    def save(self, name: str, parts, columns: int = 8, across: bool = False) -> None:
        write(labelled(parts, columns=columns, across=across), HELP / f"{name}.jpg")

    def sampling(self) -> None:
        model, z, seen = self.model, self.z, self.seen
        self.save("samples", [(f"seed {seed}", seen(core.sample_z(model, 8, seed))) for seed in (SEED, SEED + 1)])
        strengths = (1.0, 0.7, 0.4, 0.0)
        rows = [(f"truncation {psi}", seen(z, options=core.SampleConfig(truncation=psi))) for psi in strengths]
        self.save("truncation", rows)
        frames = seen(latents.walk(core.sample_z(model, 4, SEED), 24))
        self.save("walk", [("frames of a walk through four latents", frames)])
        styles = core.sample_z(model, 8, SEED + 1)
        mixed = latents.style_mix(model, latents.truncate(model, z, 0.7), latents.truncate(model, styles, 0.7), 4)
        parts = [("latents", seen(z)), ("styles", seen(styles)), ("layers 4 to the end of styles", seen(mixed))]
        self.save("style_mix", parts)

    def drawing(self) -> None:
        photos, bananas = core.to_comfy(self.photos), self.bananas
        lines, plain = (core.to_comfy(draw(self.photos)) for draw in (self.sketcher, core.LineExtractor()))
        self.save("lines", [("photos", photos), ("bundled network", lines), ("line extractor", plain)])
        self.save("photos", [("the bundled photos", photos)])
        self.save("sketches", [("16 of the bundled bananas", core.to_comfy(core.prepare_sketches(bananas[:16], 128)))])
        messy = torch.full((480, 640, 1), 0.75)  # small, off the middle, grey on grey
        messy[40:296, 340:596] = 0.25 + 0.5 * bananas[1].mean(dim=2, keepdim=True)[:256, :256]
        tidy = core.to_comfy(core.prepare_sketches([messy], 256, core.SketchConfig(crop=True)))
        self.save("prepare", [("as photographed", messy[None]), ("prepared", tidy)], columns=1, across=True)

    def customising(self) -> None:
        model, sketcher, z, seen = self.model, self.sketcher, self.z, self.seen
        sketches, original = core.sketches_for(model, self.bananas, sketcher), ("original", seen(z))
        shifted = {k: latents.shift_towards(model, sketches, sketcher, strength=k) for k in (0.5, 1.0, 1.5)}
        self.save("w_shift", [original, *((f"strength {k}", seen(z, m)) for k, m in shifted.items())])
        trained = {}
        for start in (0.5, 1.0, 1.5):
            config = core.FinetuneConfig(warm_start=start)
            trained[start] = core.customise(model, sketches, sketcher, config, folder=self.work / "runs").model
        self.save("options", [original, *((f"warm_start {k}", seen(z, m)) for k, m in trained.items())])
        shares, customised = (0, 0.25, 0.5, 0.75, 1), trained[1.5]
        between = [(f"{share:.0%}", seen(z, core.interpolate_models(model, customised, share))) for share in shares]
        self.save("between", between)
        parts = [
            ("sketches", core.to_comfy(sketches[:8])),
            ("drawings of the original's samples", self.drawn(model)),
            ("drawings of the customised model's", self.drawn(customised)),
        ]
        self.save("match", parts)

    def editing(self) -> None:
        model, z, photos = self.model, self.z, core.to_comfy(self.photos)
        small = torch.nn.functional.interpolate(self.photos, (model.config.resolution,) * 2, mode="area")
        search = core.Projector(model, small)
        while not search.finished:
            search.step()
        self.save("projected", [("photos", photos), ("found in the model", core.to_comfy(search.result().images))])
        self.save("beside_photos", [("photos", photos), ("samples", self.seen(z))])
        directions, one = core.fit_directions(model, components=8, samples=20_000), latents.split(z)[2]
        strengths = (-2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2)
        sheet = ganspace.sheet(model, one, directions, components=4, strengths=strengths, psi=0.7)
        self.save("directions", [(f"direction {k}", core.to_comfy(sheet[8 * k : 8 * k + 8])) for k in range(4)])
        edited = ganspace.edit(model, z, directions, 1, 1.5, psi=0.7)
        parts = [
            ("before", self.seen(z)),
            ("direction 1, strength 1.5", self.seen(edited, options=core.SampleConfig())),
        ]
        self.save("edit", parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "pictures", help="where results are kept")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    workflow_pictures(args.work.resolve())
    HelpPictures(args.work.resolve()).make()


if __name__ == "__main__":
    main()
