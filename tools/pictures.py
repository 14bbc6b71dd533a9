"""Makes the pictures of the README, of the templates and of the help pages with the bundled models.

    python tools/pictures.py [--work FOLDER] [--thumbnails]

Run it after the bundled models or the fast preset have changed. Results of the workflows are kept in FOLDER
(build/pictures), so that later runs only make the pictures. tools/screenshots.py takes docs/1_drawing.jpg,
2_training.jpg and 3_samples.jpg; sketch_pad.jpg, training.jpg and get_model.jpg of the help pages are taken by hand.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import gansketching_core as core  # noqa: E402
from gansketching_core.cli.pack import load_pack  # noqa: E402
from gansketching_core.latents import ganspace, interpolation  # noqa: E402
from gansketching_core.latents.mean_shift import shift_towards  # noqa: E402
from gansketching_core.latents.sampling import sample_drawings  # noqa: E402
from gansketching_core.latents.spaces import truncate  # noqa: E402

load_pack()
from gansketching_pack.nodes.pictures import labelled, to_pil  # noqa: E402

HELP = ROOT / "nodes" / "web" / "docs"
WIDE, QUALITY = 800, 88  # of help pictures and thumbnails
THUMBNAIL = (720, 480)
ARROW, FRAME = (60, 60, 60), (200, 200, 200)
SEED = 1


def write(picture: Image.Image, path: Path, width: int = WIDE) -> None:
    if picture.width > width:
        picture = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
    picture.convert("RGB").save(path, quality=QUALITY)


# --------------------------------------------------------------------------------------------------------- workflows


def run(name: str, work: Path) -> dict[str, list[Path]]:
    """The images of a workflow by the name under which they are saved; a batch has several."""
    output = work / name
    if not output.is_dir():
        command = [sys.executable, "-m", "gansketching_core.cli", "run", name, "--output-dir", str(output)]
        subprocess.run(command, cwd=ROOT, check=True)
    pictures: dict[str, list[Path]] = {}
    for path in sorted((output / "gansketching").iterdir()):
        if path.suffix in (".png", ".webp"):
            pictures.setdefault(path.name.rsplit("_0", 1)[0], []).append(path)
    return pictures


def in_grid(pictures: list[Image.Image], columns: int) -> Image.Image:
    """Pictures of one width in a grid."""
    width = max(picture.width for picture in pictures)
    height = max(picture.height for picture in pictures)
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for k, picture in enumerate(pictures):
        sheet.paste(picture, (k % columns * width, k // columns * height))
    return sheet


def frames(path: Path, count: int) -> list[Image.Image]:
    """Evenly spaced frames of a film."""
    pictures = []
    with Image.open(path) as film:
        for k in range(count):
            film.seek(k * film.n_frames // count)
            pictures.append(film.convert("RGB"))
    return pictures


def thumbnail(picture: Image.Image, path: Path) -> None:
    """The whole picture on white. All thumbnails have one shape, because the editor crops others."""
    picture = picture.convert("RGB")
    picture.thumbnail((THUMBNAIL[0] - 24, THUMBNAIL[1] - 24), Image.Resampling.LANCZOS)
    sheet = Image.new("RGB", THUMBNAIL, "white")
    sheet.paste(picture, ((THUMBNAIL[0] - picture.width) // 2, (THUMBNAIL[1] - picture.height) // 2))
    sheet.save(path, quality=QUALITY)


def arrow_picture(first: Image.Image, results: list[Image.Image], path: Path) -> None:
    """A square thumbnail without a word: what is given, an arrow, and four results that are large enough to judge."""
    side, margin = 640, 8
    sheet = Image.new("RGB", (side, side), "white")
    large, small = 216, 152
    sheet.paste(first.convert("RGB").resize((small, small), Image.Resampling.LANCZOS), ((side - small) // 2, margin))
    draw = ImageDraw.Draw(sheet)
    middle, top = side // 2, margin + small + 4
    draw.rectangle((middle - 6, top, middle + 6, top + 12), fill=ARROW)
    draw.polygon([(middle - 20, top + 12), (middle + 20, top + 12), (middle, top + 28)], fill=ARROW)
    for k, picture in enumerate(results[:4]):
        x = middle + (k % 2 - 1) * large
        y = side - margin - (2 - k // 2) * large
        sheet.paste(picture.convert("RGB").resize((large, large), Image.Resampling.LANCZOS), (x, y))
    draw.rectangle((middle - small // 2, margin, middle + small // 2, margin + small), outline=FRAME, width=2)
    sheet.save(path, quality=QUALITY)


def arrow_thumbnails(work: Path) -> None:
    """Thumbnails of the templates that start from sketches or a photo."""
    folder = ROOT / "workflows"

    def pictures(images: Tensor) -> list[Image.Image]:
        return [to_pil(image) for image in core.to_comfy(images)]

    for kind, name, base, network, truncation in (
        ("banana", "draw_your_own_sketch", "fruit", "sketcher", 0.7),
        ("strawberry", "sketch_a_shape", "fruit", "sketcher", 0.7),
        ("horse", "sketch_your_own_gan", "horse", "sketcher_scenes", 1.0),
    ):
        model = core.load_model(ROOT / "weights" / f"{base}.safetensors")
        sketcher = core.load_photosketch(ROOT / "weights" / f"{network}.safetensors")
        size = model.config.resolution
        drawings = sample_drawings(model, sketcher)
        z = core.sample_z(model, 4, SEED)
        drawn = core.load_images(ROOT / "samples" / "sketches" / kind)
        sketches = core.prepare_sketches(drawn, size, reference=drawings)
        run = core.customise(model, sketches, sketcher, core.FinetuneConfig(), folder=work / "thumbnails")
        samples = core.render(run.model, z, core.SampleConfig(truncation=truncation))
        arrow_picture(pictures(sketches)[0], pictures(samples), folder / f"{name}.jpg")
        if kind == "banana":
            apple = core.load_images(ROOT / "samples" / "sketches" / "apple")
            apple = core.prepare_sketches(apple, size, reference=drawings)[:1]
            search = core.SketchSearch(model, apple, sketcher)
            while not search.finished:
                search.step()
            arrow_picture(pictures(apple)[0], pictures(search.result().images), folder / "sketch_to_image.jpg")
            photo = core.ImageSet(ROOT / "samples" / "photos", 256).batch([4])
            projector = core.Projector(model, torch.nn.functional.interpolate(photo, (size, size), mode="area"))
            while not projector.finished:
                projector.step()
            directions = core.fit_directions(model, components=4, samples=20_000)
            latents = projector.result().latents
            steps = [ganspace.edit(model, latents, directions, k, strength) for k in (0, 1) for strength in (-1, 1)]
            edited = [pictures(core.render(model, step))[0] for step in steps]
            arrow_picture(pictures(photo)[0], edited, folder / "photo_editing.jpg")


def workflow_pictures(work: Path) -> None:
    stills = {
        "compose": "compose",
        "draw_your_own_sketch": "draw_your_own_sketch",
        "ganspace": "directions",
        "latent_bridge": "latent_bridge",
        "photo_editing": "photo_editing",
        "sketch_a_shape": "sketch_a_shape",
        "sketch_to_image": "sketch_to_image",
        "sketch_your_own_gan": "sketch_your_own_gan",
        "style_mixing": "style_mixing",
    }
    documented = {"sketch_your_own_gan": "horse", "sketch_a_shape": "banana", "photo_editing": "photo_editing"}
    for name, saved in stills.items():
        picture = in_grid([Image.open(path).convert("RGB") for path in run(name, work)[saved]], 1)
        if name in ("compose", "ganspace", "latent_bridge", "style_mixing"):
            thumbnail(picture, ROOT / "workflows" / f"{name}.jpg")
        if name in documented:
            picture.save(ROOT / "docs" / f"{documented[name]}.png", optimize=True)
        if name == "sketch_a_shape":
            write(picture, HELP / "customised.jpg")
        if name == "sketch_to_image":
            write(picture, HELP / "found.jpg")
    for name in ("latent_walk", "model_interpolation"):
        (film,) = run(name, work)[name]
        thumbnail(in_grid(frames(film, 6), 3), ROOT / "workflows" / f"{name}.jpg")


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
        self.z = core.sample_z(self.model, 8, SEED)

    def make(self) -> None:
        self.sampling()
        self.drawing()
        self.customising()
        self.editing()

    def images(self, latents=None, model=None, truncation: float = 0.7) -> Tensor:
        """IMAGE of latents, by default the common ones and the base model."""
        config = core.SampleConfig(truncation=truncation)
        return core.to_comfy(core.render(model or self.model, latents or self.z, config))

    def drawings(self, model) -> Tensor:
        images = core.render(model, self.z, core.SampleConfig(truncation=0.7))
        return core.to_comfy(self.sketcher(images.clamp(-1, 1)))

    def save(self, name: str, parts: Sequence[tuple[str, Tensor]], columns: int = 8, across: bool = False) -> None:
        write(labelled(parts, columns=columns, across=across), HELP / f"{name}.jpg")

    def sampling(self) -> None:
        other = core.sample_z(self.model, 8, SEED + 1)
        self.save("samples", [(f"seed {SEED}", self.images()), (f"seed {SEED + 1}", self.images(other))])
        self.save("truncation", [(f"truncation {psi}", self.images(truncation=psi)) for psi in (1.0, 0.7, 0.4, 0.0)])
        walk = interpolation.walk(core.sample_z(self.model, 4, SEED), 24)
        self.save("walk", [("frames of a walk through four latents", self.images(walk))])
        base = truncate(self.model, self.z, 0.7)
        styles = truncate(self.model, other, 0.7)
        mixed = interpolation.style_mix(self.model, base, styles, 4)
        parts = [
            ("latents", self.images()),
            ("styles", self.images(other)),
            ("layers 4 to the end of styles", self.images(mixed, truncation=1.0)),
        ]
        self.save("style_mix", parts)

    def drawing(self) -> None:
        photos = core.to_comfy(self.photos)
        parts = [
            ("photos", photos),
            ("bundled network", core.to_comfy(self.sketcher(self.photos))),
            ("line extractor", core.to_comfy(core.LineExtractor()(self.photos))),
        ]
        self.save("lines", parts)
        self.save("photos", [("the bundled photos", photos)])
        sketches = core.prepare_sketches(self.bananas[:16], 128, core.SketchConfig(strokes="keep"))
        self.save("sketches", [("16 of the bundled bananas", core.to_comfy(sketches))])
        messy = torch.full((480, 640, 1), 0.75)  # small, off-centre, grey on grey
        messy[40:296, 340:596] = 0.25 + 0.5 * self.bananas[1].mean(dim=2, keepdim=True)[:256, :256]
        tidy = core.prepare_sketches([messy], 256, core.SketchConfig(crop=True, strokes="redraw"))
        parts = [("as photographed", messy[None]), ("prepared", core.to_comfy(tidy))]
        self.save("prepare", parts, columns=1, across=True)

    def customising(self) -> None:
        reference = core.sample_drawings(self.model, self.sketcher)
        sketches = core.prepare_sketches(self.bananas, self.model.config.resolution, reference=reference)
        original = ("original", self.images())
        parts: list[tuple[str, Tensor]] = [original]
        for strength in (0.5, 1.0, 1.5):
            shifted = shift_towards(self.model, sketches, self.sketcher, strength=strength)
            parts.append((f"strength {strength}", self.images(model=shifted)))
        self.save("w_shift", parts)
        parts = list[tuple[str, Tensor]]([original])
        for start in (0.5, 1.0, 1.5):
            config = core.FinetuneConfig(warm_start=start)
            run = core.customise(self.model, sketches, self.sketcher, config, folder=self.work / "runs")
            parts.append((f"warm_start {start}", self.images(model=run.model)))
        self.save("options", parts)
        customised = run.model
        parts = []
        for share in (0, 0.25, 0.5, 0.75, 1):
            between = core.interpolate_models(self.model, customised, share)
            parts.append((f"{share:.0%}", self.images(model=between)))
        self.save("between", parts)
        parts = [
            ("sketches", core.to_comfy(sketches[:8])),
            ("drawings of the original's samples", self.drawings(self.model)),
            ("drawings of the customised model's samples", self.drawings(customised)),
        ]
        self.save("match", parts)

    def editing(self) -> None:
        photos = core.to_comfy(self.photos)
        small = torch.nn.functional.interpolate(self.photos, (self.model.config.resolution,) * 2, mode="area")
        search = core.Projector(self.model, small)
        while not search.finished:
            search.step()
        self.save("projected", [("photos", photos), ("projected", core.to_comfy(search.result().images))])
        self.save("beside_photos", [("photos", photos), ("samples", self.images())])
        directions = core.fit_directions(self.model, components=8, samples=20_000)
        strengths = (-2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2)
        sheet = ganspace.sheet(self.model, self.z[2], directions, components=4, strengths=strengths, psi=0.7)
        self.save("directions", [(f"direction {k}", core.to_comfy(sheet[8 * k : 8 * k + 8])) for k in range(4)])
        edited = ganspace.edit(self.model, self.z, directions, 1, 1.5, psi=0.7)
        parts = [
            ("before", self.images()),
            ("direction 1, strength 1.5", self.images(edited, truncation=1.0)),
        ]
        self.save("edit", parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "pictures", help="where results are kept")
    parser.add_argument(
        "--thumbnails", action="store_true", help="only those of the templates that start from sketches"
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    arrow_thumbnails(args.work.resolve())
    if args.thumbnails:
        return
    workflow_pictures(args.work.resolve())
    HelpPictures(args.work.resolve()).make()


if __name__ == "__main__":
    main()
