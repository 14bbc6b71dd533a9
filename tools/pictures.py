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

from gansketching_core.cli_pack import load_pack  # noqa: E402

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


def help_pictures(work: Path) -> None:
    model = core.load_model(ROOT / "weights" / "fruit.safetensors")
    sketcher = core.load_photosketch(ROOT / "weights" / "sketcher.safetensors")
    bananas = core.load_images(ROOT / "samples" / "sketches" / "banana")
    photos = core.ImageSet(ROOT / "samples" / "photos", 256)
    photos = photos.batch(torch.arange(len(photos)))
    z, softer = core.sample_z(model, 8, SEED), core.SampleConfig(truncation=0.7)

    def seen(w, by=model, options=softer):
        return core.to_comfy(core.render(by, w, options))

    def save(name: str, parts, columns: int, across: bool = False) -> None:
        write(labelled(parts, columns=columns, across=across), HELP / f"{name}.jpg")

    save("samples", [(f"seed {seed}", seen(core.sample_z(model, 8, seed))) for seed in (SEED, SEED + 1)], 8)
    rows = [(f"truncation {psi}", seen(z, options=core.SampleConfig(truncation=psi))) for psi in (1.0, 0.7, 0.4, 0.0)]
    save("truncation", rows, 8)
    save("walk", [("frames of a walk through four latents", seen(latents.walk(core.sample_z(model, 4, SEED), 24)))], 8)
    styles = core.sample_z(model, 8, SEED + 1)
    mixed = seen(latents.style_mix(model, latents.truncate(model, z, 0.7), latents.truncate(model, styles, 0.7), 4))
    save("style_mix", [("latents", seen(z)), ("styles", seen(styles)), ("layers 4 to the end of styles", mixed)], 8)

    lines, plain = sketcher(photos), core.LineExtractor()(photos)
    drawn = [
        ("photos", core.to_comfy(photos)),
        ("bundled network", core.to_comfy(lines)),
        ("line extractor", core.to_comfy(plain)),
    ]
    save("lines", drawn, 8)
    save("photos", [("the bundled photos", core.to_comfy(photos))], 8)
    save("sketches", [("16 of the bundled bananas", core.to_comfy(core.prepare_sketches(bananas[:16], 128)))], 8)
    messy = torch.full((480, 640, 1), 0.75)  # small, off the middle, grey on grey
    messy[40:296, 340:596] = 0.25 + 0.5 * bananas[1].mean(dim=2, keepdim=True)[:256, :256]
    tidy = core.to_comfy(core.prepare_sketches([messy], 256, core.SketchConfig(crop=True)))
    save("prepare", [("as photographed", messy[None]), ("prepared", tidy)], 1, across=True)

    sketches = core.sketches_for(model, bananas, sketcher)
    shifted = {k: latents.shift_towards(model, sketches, sketcher, strength=k) for k in (0.5, 1.0, 1.5)}
    save("w_shift", [("original", seen(z)), *((f"strength {k}", seen(z, m)) for k, m in shifted.items())], 8)
    trained = {}
    for start in (0.5, 1.0, 1.5):
        config = core.FinetuneConfig(warm_start=start)
        trained[start] = core.customise(model, sketches, sketcher, config, folder=work / "runs").model
    save("options", [("original", seen(z)), *((f"warm_start {k}", seen(z, m)) for k, m in trained.items())], 8)
    between = [(f"{a:.0%}", seen(z, core.interpolate_models(model, trained[1.5], a))) for a in (0, 0.25, 0.5, 0.75, 1)]
    save("between", between, 8)

    search = core.Projector(model, torch.nn.functional.interpolate(photos, (model.config.resolution,) * 2, mode="area"))
    while not search.finished:
        search.step()
    found = core.to_comfy(search.result().images)
    save("projected", [("photos", core.to_comfy(photos)), ("found in the model", found)], 8)

    directions = core.fit_directions(model, components=8, samples=20_000)
    one = latents.split(core.sample_z(model, 8, SEED))[2]
    sheet = ganspace.sheet(
        model, one, directions, components=4, strengths=(-2, -1.5, -1, -0.5, 0.5, 1, 1.5, 2), psi=0.7
    )
    rows = [(f"direction {k}", core.to_comfy(sheet[8 * k : 8 * k + 8])) for k in range(4)]
    save("directions", rows, 8)
    edited = seen(ganspace.edit(model, z, directions, 1, 1.5, psi=0.7), options=core.SampleConfig())
    save("edit", [("before", seen(z)), ("direction 1, strength 1.5", edited)], 8)

    save("beside_photos", [("photos", core.to_comfy(photos)), ("samples", seen(z))], 8)
    customised = trained[1.5]
    parts = [
        ("sketches", core.to_comfy(sketches[:8])),
        ("drawings of the original's samples", core.to_comfy(sketcher(core.render(model, z, softer).clamp(-1, 1)))),
        (
            "drawings of the customised model's",
            core.to_comfy(sketcher(core.render(customised, z, softer).clamp(-1, 1))),
        ),
    ]
    save("match", parts, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "pictures", help="where results are kept")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    workflow_pictures(args.work.resolve())
    help_pictures(args.work.resolve())


if __name__ == "__main__":
    main()
