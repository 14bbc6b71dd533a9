"""The shipped workflows: valid for ComfyUI's editor and its API, tidy, and both forms the same."""

from __future__ import annotations

import itertools
import json

import pytest
from loaded_pack import ROOT
from PIL import Image
from workflow_nodes import widgets_and_sockets

EDITOR = {path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "workflows").glob("*.json")}
API = {path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "workflows/api").glob("*.json")}
NOTES = {"MarkdownNote", "Note"}
TITLE_BAR = 30  # pixels above a node's position
FOLDED = 225  # width of a folded node in pixels, at most
WIDEST, HIGHEST = 1810, 1140  # of a template: the editor then shows it with readable text


def api_inputs(node: dict, links: dict, node_class: type) -> dict:
    """What the editor would send for a node: the values of its widgets in order, and its links."""
    widgets, _ = widgets_and_sockets(node_class)
    values, inputs = iter(node.get("widgets_values", [])), {}
    for name, (_, options) in widgets.items():
        inputs[name] = next(values)
        if options.get("control_after_generate"):
            assert next(values) in ("fixed", "increment", "decrement", "randomize")
    assert list(values) == [], f"node {node['id']} has more values than widgets"
    for socket in node["inputs"]:
        if socket["link"] is not None:
            _, source, slot, *_ = links[socket["link"]]
            inputs[socket["name"]] = [str(source), slot]
    return inputs


def test_every_workflow_has_both_forms():
    assert EDITOR and EDITOR.keys() == API.keys()


@pytest.mark.parametrize("name", API)
def test_both_forms_are_the_same(pack, registry, name):
    shown = {"PreviewImage": "Preview Image", "SaveImage": "Save Image", "LoadImage": "Load Image"}
    links = {link[0]: link for link in EDITOR[name]["links"]}
    expected = {}
    for node in EDITOR[name]["nodes"]:
        if node["type"] in NOTES:
            continue
        title = node.get("title") or {**pack.module.NODE_DISPLAY_NAME_MAPPINGS, **shown}[node["type"]]
        inputs = api_inputs(node, links, registry[node["type"]])
        expected[str(node["id"])] = {"class_type": node["type"], "inputs": inputs, "_meta": {"title": title}}
    assert API[name] == expected


@pytest.mark.parametrize("name", API)
def test_api_form_is_valid(pack, registry, name):
    assert pack.headless.find_problems(API[name], registry) == []


@pytest.mark.parametrize("name", API)
def test_runs_without_comfyui(short_run, registry, name):
    prompt = API[name]
    files = short_run(prompt, registry).files
    assert files and all(path.is_file() for path in files)
    films = [path for path in files if path.suffix == ".webp"]
    assert len(films) == sum(node["class_type"] == "SaveAnimatedWEBP" for node in prompt.values())
    for path in films:
        with Image.open(path) as film:
            assert film.format == "WEBP"


@pytest.mark.parametrize("name", EDITOR)
def test_links_join_existing_slots_of_one_type(registry, name):
    workflow = EDITOR[name]
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
    if item["flags"].get("collapsed"):
        width, height = FOLDED, 0
    return x, y - TITLE_BAR, x + width, y + height


@pytest.mark.parametrize("name", EDITOR)
def test_layout_is_tidy(registry, name):
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
        if node["type"] not in NOTES and not node["flags"].get("collapsed"):
            widgets, _ = widgets_and_sockets(registry[node["type"]])
            shown = [options for _, options in widgets.values() if not options.get("advanced")]
            rows = max(len(node["inputs"]), len(node["outputs"])) * 20 + len(shown) * 24
            assert node["size"][1] >= rows, f"node {node['id']} is too low for its {rows} px of rows"
    left, top, right, bottom = zip(*[box(item) for item in workflow["nodes"] + workflow["groups"]])
    assert max(right) - min(left) <= WIDEST and max(bottom) - min(top) <= HIGHEST
    order = {node["id"]: node["order"] for node in workflow["nodes"]}
    assert sorted(order.values()) == list(range(len(order)))
    assert all(order[source] < order[target] for _, source, _, target, *_ in workflow["links"])


@pytest.mark.parametrize("name", ["draw_your_own_sketch", "sketch_to_image", "photo_editing"])
def test_apps_name_existing_widgets_and_outputs(registry, name):
    """`extra.linearData` lists [node, widget] and nodes whose pictures App Mode shows."""
    nodes = {node["id"]: node for node in EDITOR[name]["nodes"]}
    extra = EDITOR[name]["extra"]
    assert extra["linearMode"] is True and extra["linearData"]["outputs"]
    for number, widget in extra["linearData"]["inputs"]:
        widgets, _ = widgets_and_sockets(registry[nodes[number]["type"]])
        assert widget in widgets or (nodes[number]["type"], widget) == ("GANSketching_FineTuneMapping", "training")
    for number in extra["linearData"]["outputs"]:
        assert registry[nodes[number]["type"]].OUTPUT_NODE
