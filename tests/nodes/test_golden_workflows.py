"""Copies of workflows as they were shipped, never changed: whoever saved one then can still open and run it.

tests/golden holds what each template looked like when it first came out, in both forms.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from workflow_nodes import widgets_and_sockets

GOLDEN = Path(__file__).parent.parent / "golden"
EDITOR = {path.stem: json.loads(path.read_text("utf-8")) for path in GOLDEN.glob("*.json")}
API = {path.stem: json.loads(path.read_text("utf-8")) for path in (GOLDEN / "api").glob("*.json")}
PREFIX = "GANSketching_"


def test_every_shipped_workflow_has_a_golden_copy():
    shipped = {path.stem for path in (GOLDEN.parent.parent / "workflows").glob("*.json")}
    assert shipped <= EDITOR.keys() == API.keys()


def test_masks_are_taken_as_sketches(pack):
    kinds = {
        (node_class.__name__, name): kind
        for node_class in pack.classes.values()
        for section in ("required", "optional")
        for name, (kind, *_) in node_class.INPUT_TYPES().get(section, {}).items()
        if name in ("sketches", "drawings")
    }
    assert len(kinds) >= 5 and set(kinds.values()) == {"IMAGE,MASK"}, kinds
    mask, photo = torch.zeros(1, 64, 48), torch.rand(1, 64, 48, 3)
    mask[:, 20:30] = 1
    node = pack.node("SideBySide")
    pictures = [node.compose(photo, photo, "a", "b", 0, sketches)[0] for sketches in (mask, (1 - mask)[..., None])]
    assert torch.equal(*pictures)


@pytest.mark.parametrize("name", EDITOR)
def test_inputs_have_only_been_appended(pack, name):
    """The editor gives saved values to widgets, and links to sockets, by their order."""
    for node in EDITOR[name]["nodes"]:
        if not node["type"].startswith(PREFIX):
            continue
        node_class, api = pack.classes[node["type"]], API[name][str(node["id"])]["inputs"]
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


def watched(node_class):
    """The class, checking what it gives, and that it leaves alone what it gets."""
    function = getattr(node_class, node_class.FUNCTION)

    def state(inputs):
        networks = {
            f"{name}.{part}": network.state_dict()
            for name, value in inputs.items()
            for part in ("generator", "discriminator")
            if isinstance(network := getattr(value, part, None), torch.nn.Module)
        }
        networks |= {name: x.state_dict() for name, x in inputs.items() if isinstance(x, torch.nn.Module)}
        tensors = {f"{name}.{key}": x for name, weights in networks.items() for key, x in weights.items()}
        return tensors | {name: x for name, x in inputs.items() if isinstance(x, torch.Tensor)}

    def checked(self, **inputs):
        before = {name: x.clone() for name, x in state(inputs).items()}
        result = function(self, **inputs)
        after = state(inputs)
        assert all(torch.equal(x, after[name]) for name, x in before.items()), (
            f"{node_class.__name__} changed its input"
        )
        outputs = result.get("result", ()) if isinstance(result, dict) else result
        for kind, x in zip(node_class.RETURN_TYPES, outputs, strict=False):
            if kind == "IMAGE":
                assert x.ndim == 4 and x.shape[3] == 3 and x.dtype == torch.float32 and x.device.type == "cpu"
                assert x.min() >= 0 and x.max() <= 1 and not x.requires_grad
        return result

    return type(node_class.__name__, (node_class,), {node_class.FUNCTION: checked})


@pytest.mark.parametrize("name", API)
def test_still_runs_with_good_manners(pack, short_run, registry, name):
    """Pictures are float32 [B,H,W,3] in 0..1 on the CPU, and no node changes what it was given."""
    registry = {key: watched(value) if key.startswith(PREFIX) else value for key, value in registry.items()}
    assert pack.headless.find_problems(API[name], registry) == []
    assert short_run(API[name], registry).files
