"""Makes the subgraph blueprints, which the editor offers in its node library, from the nodes' declarations.

    python tools/subgraphs.py

Run it again when inputs or outputs of the nodes in them have changed. tests/nodes/test_subgraphs.py checks the files.
"""

from __future__ import annotations

import json
import sys
import uuid
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from loaded_pack import loaded_pack  # noqa: E402
from workflow_nodes import widgets_and_sockets  # noqa: E402

INSIDE, OUTSIDE = -10, -20  # the editor's ids of a subgraph's own inputs and outputs
WIDTH, GAP, HEIGHT = 360, 80, 320

# name -> nodes by title, (from, output) -> (to, input) links; "in" and "out" are the subgraph's own sockets
BLUEPRINTS = {
    "Sketches to Generator": {
        "nodes": {"sketcher": "LoadPhotoSketch", "prepare": "PrepareSketch", "train": "FineTuneMapping"},
        "links": [
            ("in.drawings", "prepare.drawings"),
            ("in.model", "prepare.model"),
            ("sketcher.photosketch", "prepare.photosketch"),
            ("in.model", "train.model"),
            ("prepare.sketches", "train.sketches"),
            ("sketcher.photosketch", "train.photosketch"),
            ("train.model", "out.model"),
            ("train.preview", "out.preview"),
            ("train.report", "out.report"),
        ],
    },
    "Photo to Customised Photo": {
        "nodes": {"project": "ProjectImage", "sample": "Sample"},
        "links": [
            ("in.original", "project.model"),
            ("in.photos", "project.images"),
            ("in.customised", "sample.model"),
            ("project.latents", "sample.latents"),
            ("sample.images", "out.images"),
            ("project.reconstruction", "out.reconstruction"),
            ("project.latents", "out.latents"),
        ],
    },
}


def identifier(*parts: str) -> str:
    """A UUID that stays the same when the files are made again."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("gansketching", *parts))))


def widget_values(widgets: dict) -> list:
    values = []
    for kind, options in widgets.values():
        values.append(options.get("default", kind[0] if isinstance(kind, list) else None))
        if options.get("control_after_generate") is not None and kind == "INT":
            values.append("fixed")
    return values


def blueprint(name: str, nodes: dict[str, str], links: list[tuple[str, str]], classes: dict) -> dict:
    numbers = {title: number for number, title in enumerate(nodes, 1)}
    made = {}
    for title, kind in nodes.items():
        node_class = classes[f"GANSketching_{kind}"]
        widgets, sockets = widgets_and_sockets(node_class)
        number = numbers[title]
        made[title] = {
            "id": number,
            "type": f"GANSketching_{kind}",
            "pos": [number * (WIDTH + GAP), 80],
            "size": [WIDTH, HEIGHT],
            "flags": {},
            "order": number - 1,
            "mode": 0,
            "inputs": [{"name": n, "type": kind, "link": None} for n, (kind, _) in sockets.items()],
            "outputs": [
                {"name": n, "type": kind, "links": []}
                for n, kind in zip(node_class.RETURN_NAMES, node_class.RETURN_TYPES)
            ],
            "properties": {"cnr_id": "gansketching", "Node name for S&R": f"GANSketching_{kind}"},
            "widgets_values": widget_values(widgets),
        }
    sockets: dict[str, dict[str, dict]] = {"in": {}, "out": {}}
    wires = []
    for number, (source, target) in enumerate(links, 1):
        (origin, output), (goal, socket) = source.split("."), target.split(".")
        if origin == "in":
            (kind,) = (slot["type"] for slot in made[goal]["inputs"] if slot["name"] == socket)
            slot = sockets["in"].setdefault(output, {"id": identifier(name, source), "name": output, "type": kind})
            origin_id, origin_slot = INSIDE, list(sockets["in"]).index(output)
            slot.setdefault("linkIds", []).append(number)
        else:
            origin_id = numbers[origin]
            origin_slot = [slot["name"] for slot in made[origin]["outputs"]].index(output)
            made[origin]["outputs"][origin_slot]["links"].append(number)
            kind = made[origin]["outputs"][origin_slot]["type"]
        if goal == "out":
            sockets["out"][socket] = {"id": identifier(name, target), "name": socket, "type": kind, "linkIds": [number]}
            target_id, target_slot = OUTSIDE, len(sockets["out"]) - 1
        else:
            target_id = numbers[goal]
            target_slot = [slot["name"] for slot in made[goal]["inputs"]].index(socket)
            made[goal]["inputs"][target_slot]["link"] = number
        wires.append(
            {
                "id": number,
                "origin_id": origin_id,
                "origin_slot": origin_slot,
                "target_id": target_id,
                "target_slot": target_slot,
                "type": kind,
            }
        )
    right = (len(nodes) + 1) * (WIDTH + GAP)
    subgraph = {
        "id": identifier(name),
        "version": 1,
        "state": {"lastGroupId": 0, "lastNodeId": len(nodes), "lastLinkId": len(links), "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": name,
        "inputNode": {"id": INSIDE, "bounding": [200, 80, 120, 40 + 20 * len(sockets["in"])]},
        "outputNode": {"id": OUTSIDE, "bounding": [right, 80, 120, 40 + 20 * len(sockets["out"])]},
        "inputs": list(sockets["in"].values()),
        "outputs": list(sockets["out"].values()),
        "widgets": [],
        "nodes": list(made.values()),
        "groups": [],
        "links": wires,
        "extra": {},
    }
    shown = {
        "id": 1,
        "type": subgraph["id"],
        "pos": [100, 100],
        "size": [WIDTH, HEIGHT],
        "flags": {},
        "order": 0,
        "mode": 0,
        "inputs": [{"name": s["name"], "type": s["type"], "link": None} for s in subgraph["inputs"]],
        "outputs": [{"name": s["name"], "type": s["type"], "links": []} for s in subgraph["outputs"]],
        "title": name,
        "properties": {},
        "widgets_values": [],
    }
    return {
        "id": identifier(name, "workflow"),
        "revision": 0,
        "last_node_id": 1,
        "last_link_id": 0,
        "nodes": [shown],
        "links": [],
        "groups": [],
        "definitions": {"subgraphs": [subgraph]},
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def made_blueprints(classes: dict) -> dict[str, dict]:
    """The content of each file in subgraphs/, by its name."""
    return {name: blueprint(name, parts["nodes"], parts["links"], classes) for name, parts in BLUEPRINTS.items()}


def main() -> None:
    with loaded_pack() as pack:
        for name, content in made_blueprints(pack.classes).items():
            (ROOT / "subgraphs" / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
