"""The subgraph blueprints: their links fit the nodes as they are declared now, and what is inside them runs."""

from __future__ import annotations

import json

import pytest
import torch
from loaded_pack import ROOT, as_image, customised, drawing, tiny_model
from workflow_nodes import widgets_and_sockets

FILES = {path.stem: json.loads(path.read_text("utf-8")) for path in (ROOT / "subgraphs").glob("*.json")}
PHOTO = torch.rand(1, 40, 50, 3)


def test_there_are_blueprints_for_both_uses():
    assert sorted(FILES) == ["Photo to Customised Photo", "Sketches to Generator"]


@pytest.mark.parametrize("name", FILES)
def test_links_and_sockets_are_those_of_the_nodes(pack, name):
    (shown,) = FILES[name]["nodes"]
    (inside,) = FILES[name]["definitions"]["subgraphs"]
    assert shown["type"] == inside["id"] and inside["name"] == name
    for section in ("inputs", "outputs"):
        assert [(s["name"], s["type"]) for s in shown[section]] == [(s["name"], s["type"]) for s in inside[section]]
    nodes = {node["id"]: node for node in inside["nodes"]}
    for node in nodes.values():
        node_class = pack.classes[node["type"]]
        widgets, sockets = widgets_and_sockets(node_class)
        assert {s["name"]: s["type"] for s in node["inputs"]} == {n: kind for n, (kind, _) in sockets.items()}
        assert [out["type"] for out in node["outputs"]] == list(node_class.RETURN_TYPES)
        seeds = sum(options.get("control_after_generate") is not None for _, options in widgets.values())
        assert len(node["widgets_values"]) == len(widgets) + seeds
    for link in inside["links"]:
        source = inside["inputs"] if link["origin_id"] == -10 else nodes[link["origin_id"]]["outputs"]
        target = inside["outputs"] if link["target_id"] == -20 else nodes[link["target_id"]]["inputs"]
        given, wanted = source[link["origin_slot"]], target[link["target_slot"]]
        assert link["id"] in given.get("links", given.get("linkIds", []))
        assert link["id"] in (wanted.get("linkIds") or [wanted.get("link")])
        assert pack.widgets.fits(given["type"], wanted["type"])


def run(pack, name, given, **changes):
    """The outputs of a blueprint's inside, by name: its nodes are called in order with the links' values."""
    (inside,) = FILES[name]["definitions"]["subgraphs"]
    values = {(-10, slot): given[socket["name"]] for slot, socket in enumerate(inside["inputs"])}
    results = {}
    for node in inside["nodes"]:
        node_class = pack.classes[node["type"]]
        widgets, _ = widgets_and_sockets(node_class)
        saved = iter(node["widgets_values"])
        inputs = {}
        for widget, (_, options) in widgets.items():
            inputs[widget] = next(saved)
            if options.get("control_after_generate") is not None:
                next(saved)
        inputs |= changes.get(node["type"].removeprefix("GANSketching_"), {})
        for link in inside["links"]:
            if link["target_id"] == node["id"]:
                socket = node["inputs"][link["target_slot"]]["name"]
                inputs[socket] = values[link["origin_id"], link["origin_slot"]]
        for slot, value in enumerate(getattr(node_class(), node_class.FUNCTION)(**inputs)):
            values[node["id"], slot] = value
    for link in inside["links"]:
        if link["target_id"] == -20:
            results[inside["outputs"][link["target_slot"]]["name"]] = values[link["origin_id"], link["origin_slot"]]
    return results


@pytest.mark.usefixtures("home")
def test_sketches_become_a_generator(pack, trainable):
    given = {"drawings": as_image(drawing()), "model": trainable["model"]}
    changes = {
        "LoadPhotoSketch": {"network": pack.load.LINE_EXTRACTOR},
        "FineTuneMapping": {"options": trainable["options"]},
    }
    results = run(pack, "Sketches to Generator", given, **changes)
    assert results["model"].base_hash == trainable["model"].base_hash and "4 steps" in results["report"]


@pytest.mark.usefixtures("home", "inference_mode")
def test_a_photo_is_seen_through_a_customised_model(pack):
    model = tiny_model(pack)
    given = {"original": model, "customised": customised(pack, model), "photos": PHOTO}
    changes = {"ProjectImage": {"steps": 2, "pool": 4, "starts": 1}}
    results = run(pack, "Photo to Customised Photo", given, **changes)
    assert results["images"].shape == results["reconstruction"].shape == (1, 32, 32, 3)
    assert not torch.equal(results["images"], results["reconstruction"]) and results["latents"].space == "z"
