"""The shipped workflows: valid for ComfyUI's editor and its API, tidy, and both forms the same."""

from __future__ import annotations

import importlib
import importlib.util
import itertools
import json
import sys
from pathlib import Path

import pytest
from PIL import Image
from tiny import tiny_model

from gansketching_core.checkpoints import save_model, save_photosketch
from gansketching_core.photosketch import PhotoSketch

ROOT = Path(__file__).resolve().parent.parent
PACK_NAME = "/workflow test/custom_nodes/gan"
EDITOR = {path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "workflows").glob("*.json")}
API = {path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "workflows/api").glob("*.json")}
NOTES = {"MarkdownNote", "Note"}
SHORT = {  # small enough for a test, by node class without its prefix
    "LoadSketches": {"limit": 2, "size": 32},
    "LoadPhotos": {"limit": 2, "size": 32},
    "FineTuneOptions": {"steps": 2, "batch": 2},
    "Sample": {"count": 2},
    "LatentsFromSeed": {"count": 2},
    "InterpolateLatents": {"frames": 4},
    "ProjectImage": {"steps": 2, "pool": 4, "starts": 1},
    "ProjectSketch": {"steps": 1, "pool": 6, "count": 2},
    "WShift": {"pool": 6, "nearest": 2},
    "ModelFilm": {"frames": 3},
    "FitDirections": {"samples": 1000, "components": 4},
    "DirectionsSheet": {"components": 2},
}
TITLE_BAR = 30  # pixels above a node's position


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """The pack, its headless runner, and every node class by id."""
    spec = importlib.util.spec_from_file_location(PACK_NAME, ROOT / "__init__.py")
    pack = importlib.util.module_from_spec(spec)
    sys.modules[PACK_NAME] = pack
    spec.loader.exec_module(pack)
    headless, core_nodes, host = (
        importlib.import_module(f"{PACK_NAME}.nodes.{name}") for name in ("headless", "headless_nodes", "host")
    )
    home = tmp_path_factory.mktemp("home")
    host.set_folders(**{name: home / name for name in ("input", "output", "temp", "models")})
    yield pack, headless, {**core_nodes.COMFY_NODES, **pack.NODE_CLASS_MAPPINGS}
    for name in [name for name in sys.modules if name.startswith(PACK_NAME)]:
        del sys.modules[name]


@pytest.fixture
def short(modules, monkeypatch):
    """Trainings without Fine-tune Options are short, too."""
    training = sys.modules[f"{PACK_NAME}.nodes.training"]

    class Short(training.FinetuneConfig):
        steps: int = 2
        batch: int = 2

    monkeypatch.setattr(training, "FinetuneConfig", Short)


def widgets_and_sockets(node: type) -> tuple[dict, dict]:
    """Inputs in the order of the declaration: name -> (type, options)."""
    widgets, sockets = {}, {}
    for section in ("required", "optional"):
        for name, (kind, *options) in node.INPUT_TYPES().get(section, {}).items():
            is_widget = isinstance(kind, list) or kind in ("INT", "FLOAT", "STRING", "BOOLEAN")
            (widgets if is_widget else sockets)[name] = (kind, options[0] if options else {})
    return widgets, sockets


def api_inputs(node: dict, links: dict, node_class: type) -> dict:
    """What the editor would send for a node: the values of its widgets in order, and its links."""
    widgets, _ = widgets_and_sockets(node_class)
    values, found = iter(node.get("widgets_values", [])), {}
    for name, (_, options) in widgets.items():
        found[name] = next(values)
        if options.get("control_after_generate"):
            assert next(values) in ("fixed", "increment", "decrement", "randomize")
    assert list(values) == [], f"node {node['id']} has more values than widgets"
    for socket in node["inputs"]:
        if socket["link"] is not None:
            _, source, slot, *_ = links[socket["link"]]
            found[socket["name"]] = [str(source), slot]
    return found


def test_every_workflow_has_both_forms():
    assert EDITOR and EDITOR.keys() == API.keys()


@pytest.mark.parametrize("name", API)
def test_both_forms_are_the_same(modules, name):
    pack, _, registry = modules
    shown = {"PreviewImage": "Preview Image", "SaveImage": "Save Image", "LoadImage": "Load Image"}
    links = {link[0]: link for link in EDITOR[name]["links"]}
    expected = {}
    for node in EDITOR[name]["nodes"]:
        if node["type"] in NOTES:
            continue
        title = node.get("title") or {**pack.NODE_DISPLAY_NAME_MAPPINGS, **shown}[node["type"]]
        inputs = api_inputs(node, links, registry[node["type"]])
        expected[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}
    assert API[name] == expected


@pytest.mark.parametrize("name", API)
def test_api_form_is_valid(modules, name):
    _, headless, registry = modules
    assert headless.check(API[name], registry) == []


@pytest.mark.parametrize("name", API)
def test_runs_without_comfyui(modules, short, name, tmp_path, monkeypatch):
    """Shortened, with a tiny model in place of the bundled one."""
    _, headless, registry = modules
    save_model(tiny_model(), tmp_path / "fruit.safetensors")
    save_photosketch(PhotoSketch(width=4, blocks=1), tmp_path / "sketcher.safetensors")
    library = sys.modules[f"{PACK_NAME}.nodes.library"]
    bundled = {path.name: path for path in tmp_path.iterdir()}
    monkeypatch.setattr(library, "_bundled_weights", lambda: bundled)
    prompt = json.loads(json.dumps(API[name]))
    for node in prompt.values():
        node["inputs"] |= SHORT.get(node["class_type"].removeprefix("GANSketching_"), {})
    files = headless.run(prompt, registry).files
    assert files and all(path.is_file() for path in files)
    films = [path for path in files if path.suffix == ".webp"]
    assert len(films) == sum(node["class_type"] == "SaveAnimatedWEBP" for node in prompt.values())
    for path in films:
        with Image.open(path) as film:
            assert film.format == "WEBP"


@pytest.mark.parametrize("name", EDITOR)
def test_links_join_existing_slots_of_one_type(modules, name):
    workflow, (_, _, registry) = EDITOR[name], modules
    nodes = {node["id"]: node for node in workflow["nodes"]}
    assert workflow["version"] == 0.4
    assert len(nodes) == len(workflow["nodes"]) and max(nodes) == workflow["last_node_id"]
    assert max(link[0] for link in workflow["links"]) == workflow["last_link_id"]
    for number, source, output, target, socket, kind in workflow["links"]:
        assert number in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][socket]["link"] == number
        assert nodes[source]["outputs"][output]["type"] == kind
        wanted = nodes[target]["inputs"][socket]["type"]
        assert wanted == "*" or kind in wanted.split(",")
    numbers = [link[0] for link in workflow["links"]]
    used = [number for node in nodes.values() for out in node["outputs"] for number in out["links"] or []]
    assert sorted(used) == sorted(numbers) == sorted(set(numbers))
    for node in nodes.values():
        if node["type"] not in NOTES:
            node_class = registry[node["type"]]
            _, sockets = widgets_and_sockets(node_class)
            assert {s["name"]: s["type"] for s in node["inputs"]} == {n: kind for n, (kind, _) in sockets.items()}
            assert [out["type"] for out in node["outputs"]] == list(node_class.RETURN_TYPES)


def box(item: dict) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a node with its title bar, or of a group."""
    if "bounding" in item:
        x, y, width, height = item["bounding"]
        return x, y, x + width, y + height
    (x, y), (width, height) = item["pos"], item["size"]
    return x, y - TITLE_BAR, x + width, y + height


@pytest.mark.parametrize("name", EDITOR)
def test_layout_is_tidy(name):
    workflow = EDITOR[name]
    for items in (workflow["nodes"], workflow["groups"]):
        for a, b in itertools.combinations(items, 2):
            first, second = box(a), box(b)
            apart = first[2] <= second[0] or second[2] <= first[0] or first[3] <= second[1] or second[3] <= first[1]
            assert apart, f"{a.get('title') or a['id']} and {b.get('title') or b['id']} overlap"
    for node in workflow["nodes"]:
        inner = box(node)
        outer = [box(group) for group in workflow["groups"]]
        inside = [o for o in outer if o[0] <= inner[0] and o[1] <= inner[1] and o[2] >= inner[2] and o[3] >= inner[3]]
        assert len(inside) == (node["type"] not in NOTES), f"node {node['id']} is not inside one group"
        if node["type"] not in NOTES:
            rows = max(len(node["inputs"]), len(node["outputs"])) * 20 + len(node.get("widgets_values", [])) * 24
            assert node["size"][1] >= rows, f"node {node['id']} is too low for its {rows} px of rows"
    order = {node["id"]: node["order"] for node in workflow["nodes"]}
    assert sorted(order.values()) == list(range(len(order)))
    assert all(order[source] < order[target] for _, source, _, target, *_ in workflow["links"])
