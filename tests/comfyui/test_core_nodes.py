"""Our nodes among ComfyUI's own, in a real ComfyUI (see helpers/comfyui_server.py): six graphs.

Those of the nodes that only newer versions have (folders as lists, Painter, ImageGrid) are used where they exist.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from comfyui_server import COMFYUI, ROOT, Server
from PIL import Image, ImageDraw

from gansketching_core.checkpoints import native
from gansketching_core.networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator

pytestmark = pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH is not set to a checkout of ComfyUI")
SIZES = ((60, 40), (48, 90), (70, 70))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("core nodes")
    for name in ("custom_nodes", "models/stylegan", "input/drawings", "output", "temp", "user"):
        (base / name).mkdir(parents=True)
    (base / "custom_nodes/gansketching").symlink_to(ROOT)
    for number, size in enumerate(SIZES):
        picture = Image.new("RGBA", size, (255, 255, 255, 0))
        ImageDraw.Draw(picture).ellipse([8, 8, size[0] - 8, size[1] - 8], outline=(0, 0, 0, 255), width=3)
        picture.save(base / f"input/mask{number}.png")
        Image.alpha_composite(Image.new("RGBA", size, "white"), picture).convert("RGB").save(
            base / f"input/drawings/{number}.png"
        )
    torch.manual_seed(0)
    config = GanConfig(resolution=32, z_dim=32, w_dim=32, mapping_layers=2, channels=(32, 32, 16, 16))
    generator = Generator(config)
    model = GanModel(generator, Discriminator(config), config, generator.mean_w(), "tiny")
    native.save_model(model, base / "models/stylegan/tiny.safetensors")
    server = Server(base)
    yield server
    server.stop()


@pytest.fixture
def graph(server):
    return Graph(server)


class Graph:
    """A prompt, made node by node. Inputs that are not given have their defaults."""

    def __init__(self, server: Server):
        self.server, self.prompt = server, {}

    def add(self, kind: str, **inputs) -> str:
        facts = self.server.get(f"/object_info/{kind}")[kind]["input"]
        for section in ("required", "optional"):
            for name, (choices, *options) in facts.get(section, {}).items():
                values = options[0] if options else {}
                if isinstance(choices, list):
                    inputs.setdefault(name, values.get("default", choices[0]))
                elif choices == "COMBO":
                    inputs.setdefault(name, values.get("default", values["options"][0]))
                elif "default" in values and choices in ("INT", "FLOAT", "STRING", "BOOLEAN"):
                    inputs.setdefault(name, values["default"])
        key = str(len(self.prompt) + 1)
        self.prompt[key] = {"class_type": kind, "inputs": inputs}
        return key

    def ours(self, kind: str, **inputs) -> str:
        return self.add(f"GANSketching_{kind}", **inputs)

    def has(self, kind: str) -> bool:
        return kind in self.server.get("/object_info")

    def model(self) -> list:
        return [self.ours("LoadStyleGAN", model_name="tiny.safetensors"), 0]

    def photosketch(self) -> list:
        return [self.ours("LoadPhotoSketch", network="line extractor (no weights)"), 0]

    def drawings(self) -> list:
        """The drawings as a list: in their own sizes if this ComfyUI has a node for that, else of one size."""
        if self.has("LoadImageDataSetFromFolder"):
            return [self.add("LoadImageDataSetFromFolder", folder="drawings"), 0]
        batch = self.ours("LoadSketches", folder="drawings", size=64)
        return [self.add("RebatchImages", images=[batch, 0], batch_size=1), 0]

    def save(self, images: list) -> str:
        return self.add("SaveImage", images=images, filename_prefix="core")

    def run(self) -> dict:
        return self.server.run(self.prompt)

    def picture(self, shown: dict) -> np.ndarray:
        path = self.server.base / shown["type"] / shown["subfolder"] / shown["filename"]
        return np.asarray(Image.open(path).convert("RGB"))


def test_a_list_of_drawings_is_one_training_with_core_s_loss_graph(graph):
    options = graph.ours("FineTuneOptions", steps=3, batch=2, precision="float32")
    sketches = graph.ours("PrepareSketch", drawings=graph.drawings(), strokes="keep", size=32)
    train = graph.ours(
        "FineTuneMapping",
        model=graph.model(),
        sketches=[sketches, 0],
        photosketch=graph.photosketch(),
        options=[options, 0],
        images=graph.drawings(),
    )
    shown = graph.save([sketches, 0])
    plot = graph.add("LossGraphNode", loss=[train, 4])
    steps = graph.add("PreviewAny", source=[train, 5])
    report = graph.add("PreviewAny", source=[train, 3])
    outputs = graph.run()
    assert len(outputs[shown]["images"]) == len(SIZES), "one batch, not a run for each drawing"
    assert [text.split(":")[0] for text in outputs[report]["text"]] == ["tiny, customised"]
    assert outputs[steps]["text"] == ["3"]
    assert graph.picture(outputs[plot]["images"][0]).std() > 0


def test_a_mask_is_a_sketch(graph):
    """The mask of a transparent drawing; Painter's mask is of the same kind."""
    mask = [graph.add("LoadImage", image="mask0.png"), 1]
    prepared = graph.ours("PrepareSketch", drawings=mask, strokes="keep", size=64)
    inverse = graph.add("InvertMask", mask=mask)
    through = graph.add("MaskToImage", mask=[inverse, 0])
    saved, plain = graph.save([prepared, 0]), graph.save([through, 0])
    if graph.has("Painter"):
        painter = graph.add("Painter", mask="mask1.png", width=64, height=128, bg_color="#000000")
        painted = graph.save([graph.ours("PrepareSketch", drawings=[painter, 1], strokes="keep", size=64), 0])
    outputs = graph.run()
    sketch = graph.picture(outputs[saved]["images"][0])
    assert sketch.shape == (64, 64, 3) and sketch[0, 0].min() == 255
    assert graph.picture(outputs[plain]["images"][0]).shape == (40, 60, 3)
    if graph.has("Painter"):
        assert graph.picture(outputs[painted]["images"][0]).shape == (64, 64, 3)
    assert 0.02 < (sketch < 128).mean() < 0.5, "lines on paper"


def test_samples_are_scaled_and_saved_by_core(graph):
    images = graph.ours("Sample", model=graph.model(), count=3, seed=1)
    scaled = graph.add("ImageScale", image=[images, 0], upscale_method="lanczos", width=100, height=0, crop="disabled")
    saved = graph.save([scaled, 0])
    outputs = graph.run()
    assert [graph.picture(image).shape for image in outputs[saved]["images"]] == [(100, 100, 3)] * 3


def test_a_walk_is_core_s_animation(graph):
    model = graph.model()
    latents = graph.ours("LatentsFromSeed", model=model, seed=1, count=2)
    walk = graph.ours("InterpolateLatents", latents=[latents, 0], frames=5, loop=False)
    images = graph.ours("Sample", model=model, latents=[walk, 0])
    saved = graph.add("SaveAnimatedWEBP", images=[images, 0], filename_prefix="walk")
    outputs = graph.run()
    (film,) = outputs[saved]["images"]
    with Image.open(graph.server.base / film["type"] / film["subfolder"] / film["filename"]) as file:
        assert getattr(file, "n_frames", 1) == 5


def test_a_list_of_photos_is_drawn_and_prepared_once(graph):
    drawn = graph.ours("PhotoSketch", photosketch=graph.photosketch(), photos=graph.drawings())
    prepared = graph.ours("PrepareSketch", drawings=[drawn, 0], strokes="keep", size=48)
    saved = graph.save([prepared, 0])
    if graph.has("ImageGrid"):
        graph.save([graph.add("ImageGrid", images=[prepared, 0]), 0])
    outputs = graph.run()
    assert [graph.picture(image).shape for image in outputs[saved]["images"]] == [(48, 48, 3)] * len(SIZES)


def test_a_list_of_photos_is_projected_at_once(graph):
    found = graph.ours(
        "ProjectImage", model=graph.model(), images=graph.drawings(), steps=2, pool=4, starts=1, space="w"
    )
    before = graph.ours("Sample", model=graph.model(), count=2, seed=1)
    both = graph.add("ImageBatch", image1=[found, 1], image2=[before, 0])
    saved = graph.save([both, 0])
    report = graph.add("PreviewAny", source=[found, 2])
    outputs = graph.run()
    assert len(outputs[saved]["images"]) == len(SIZES) + 2
    (text,) = outputs[report]["text"]
    assert text.startswith("3 images projected into w of tiny")


def test_another_sketch_strength_trains_nothing(graph):
    model, options = graph.model(), graph.ours("FineTuneOptions", steps=2, batch=2, precision="float32", warm_start=1.5)
    sketches = graph.ours("PrepareSketch", drawings=graph.drawings(), strokes="keep", size=32)
    linked = {"model": model, "sketches": [sketches, 0], "photosketch": graph.photosketch(), "options": [options, 0]}
    train = graph.ours("FineTuneMapping", **linked)
    strength = graph.ours("SketchStrength", original=model, customised=[train, 0])
    shown = graph.save([graph.ours("Sample", model=[strength, 0], count=2), 0])
    pictures = []
    for position in (1.0, 0.0):
        graph.prompt[strength]["inputs"]["strength"] = position
        entry = graph.server.finished(graph.server.queue(graph.prompt))
        assert entry["status"]["status_str"] == "success", entry["status"]
        pictures.append(graph.picture(entry["outputs"][shown]["images"][0]))
    messages = dict(entry["status"]["messages"])
    assert train in messages["execution_cached"]["nodes"] and strength not in messages["execution_cached"]["nodes"]
    assert not np.array_equal(*pictures)


def test_latents_cross_a_bridge_that_was_saved(graph):
    model, bundled = graph.model(), [graph.ours("LoadStyleGAN", model_name="fruit.safetensors [bundled]"), 0]
    small = {"samples": 32, "held_out": 2, "steps": 2, "pool": 4}
    fitted = graph.ours("FitBridge", source=model, target=bundled, **small)
    latents = [graph.ours("LatentsFromSeed", model=model, count=2), 0]
    crossed = graph.ours("BridgeLatents", bridge=[fitted, 0], source=model, target=bundled, latents=latents)
    mixed = graph.ours("StyleMix", model=bundled, latents=[crossed, 0], styles=latents_of(graph, bundled))
    shown = graph.save([graph.ours("Sample", model=bundled, latents=[mixed, 0]), 0])
    graph.ours("SaveBridge", bridge=[fitted, 0], name="to_fruit")
    report, picture = graph.add("PreviewAny", source=[fitted, 2]), graph.save([fitted, 1])
    outputs = graph.run()
    assert outputs[report]["text"][0].startswith("Bridge fitted to 32 samples")
    assert graph.picture(outputs[shown]["images"][0]).shape == (64, 64, 3)
    assert graph.picture(outputs[picture]["images"][0]).size > 64 * 64
    (saved,) = (graph.server.base / "output/gansketching/bridges").iterdir()
    loaded = graph.ours("LoadBridge", name=f"{saved.name} [output]")
    graph.prompt[crossed]["inputs"]["bridge"] = [loaded, 0]
    del graph.prompt[report], graph.prompt[picture]
    again = graph.run()
    assert np.array_equal(*(graph.picture(out[shown]["images"][0]) for out in (outputs, again)))


def latents_of(graph, model: list) -> list:
    return [graph.ours("LatentsFromSeed", model=model, count=2, seed=7), 0]


def test_a_model_leaves_as_files_and_as_a_web_page(graph):
    for form in ("rosinality", "gansketching"):
        graph.ours("ExportModel", model=graph.model(), name="tiny", format=form)
    graph.ours("SaveWebPage", model=graph.model(), name="page")
    texts = [shown["text"][0] for shown in graph.run().values()]
    assert len(texts) == 3 and all(text.startswith("Saved ") for text in texts)
    folder = graph.server.base / "output/gansketching"
    assert {path.suffix for path in (folder / "exports").iterdir()} == {".pt", ".pth"}
    (page,) = (folder / "pages").iterdir()
    assert (page / "index.html").read_text("utf-8").startswith("<!")
