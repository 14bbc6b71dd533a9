"""Copies of workflows as they were shipped, never changed: whoever saved one then can still open and run it.

tests/golden holds what each template looked like when it first came out, in both forms.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from test_workflows import SHORT, modules, short, widgets_and_sockets  # noqa: F401 (fixtures)
from tiny import tiny_model

from gansketching_core.checkpoints import save_model, save_photosketch
from gansketching_core.photosketch import PhotoSketch

GOLDEN = Path(__file__).parent / "golden"
EDITOR = {path.stem: json.loads(path.read_text("utf-8")) for path in GOLDEN.glob("*.json")}
API = {path.stem: json.loads(path.read_text("utf-8")) for path in (GOLDEN / "api").glob("*.json")}
PREFIX = "GANSketching_"


def test_every_shipped_workflow_has_a_golden_copy():
    shipped = {path.stem for path in (GOLDEN.parent.parent / "workflows").glob("*.json")}
    assert shipped <= EDITOR.keys() == API.keys()


@pytest.mark.parametrize("name", EDITOR)
def test_inputs_have_only_been_appended(modules, name):  # noqa: F811
    """The editor gives saved values to widgets, and links to sockets, by their order."""
    registry = modules[2]
    for node in EDITOR[name]["nodes"]:
        if not node["type"].startswith(PREFIX):
            continue
        node_class, api = registry[node["type"]], API[name][str(node["id"])]["inputs"]
        widgets, sockets = widgets_and_sockets(node_class)
        values = iter(node.get("widgets_values", []))
        for widget, (_, options) in list(widgets.items()):
            value = next(values, None)
            if value is not None:
                assert api[widget] == value, f"{node['type']}.{widget} gets another widget's value"
            if options.get("control_after_generate"):
                next(values, None)
        assert next(values, None) is None, f"{node['type']} has lost a widget"
        saved = [socket["name"] for socket in node["inputs"]]
        assert saved == list(sockets)[: len(saved)], f"{node['type']} has lost or moved a socket"
        outputs = [output["type"] for output in node["outputs"]]
        assert outputs == list(node_class.RETURN_TYPES)[: len(outputs)]


@pytest.mark.parametrize("name", API)
def test_still_runs(modules, short, name, tmp_path, monkeypatch):  # noqa: F811
    pack, headless, registry = modules
    assert headless.check(API[name], registry) == []
    save_model(tiny_model(), tmp_path / "fruit.safetensors")
    save_photosketch(PhotoSketch(width=4, blocks=1), tmp_path / "sketcher.safetensors")
    library = sys.modules[f"{pack.__name__}.nodes.library"]
    monkeypatch.setattr(library, "_bundled_weights", lambda: {path.name: path for path in tmp_path.iterdir()})
    prompt = json.loads(json.dumps(API[name]))
    for node in prompt.values():
        node["inputs"] |= SHORT.get(node["class_type"].removeprefix(PREFIX), {})
    assert headless.run(prompt, registry).files
