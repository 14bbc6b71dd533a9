"""What every node declares: ids, names, inputs, outputs, tooltips and help pages."""

from __future__ import annotations

import inspect
import re

import pytest
from loaded_pack import ROOT, shown_inputs

NODE_IDS = (
    "LoadStyleGAN LoadPhotoSketch LoadSketches PrepareSketch PhotoSketch FineTuneOptions FineTuneMapping "
    "SaveCustomisedModel Sample SideBySide LoadPhotos ProjectImage ProjectSketch LatentsFromSeed InterpolateLatents "
    "StyleMix TruncateLatents JoinLatents PickLatents SaveLatents LoadLatents InterpolateModels ModelFilm WShift "
    "FitDirections EditLatents DirectionsSheet SaveDirections LoadDirections SketchPad "
    "EvaluateModel SketchMatchScore GetModel SketchStrength ComposeModels FitBridge BridgeLatents SaveBridge "
    "LoadBridge ExportModel SaveWebPage"
).split()


def test_registered_ids_and_names(pack):
    assert sorted(pack.classes) == sorted(f"GANSketching_{name}" for name in NODE_IDS)
    names = pack.module.NODE_DISPLAY_NAME_MAPPINGS
    assert names.keys() == pack.classes.keys() and len(set(names.values())) == len(names)
    assert (ROOT / pack.module.WEB_DIRECTORY).is_dir()


@pytest.mark.parametrize("name", NODE_IDS)
def test_declaration_is_complete(pack, home, name):
    node = pack.classes[f"GANSketching_{name}"]
    assert node.CATEGORY.startswith("GANSketching/") and len(node.DESCRIPTION) > 20 and node.SEARCH_ALIASES
    outputs = node.RETURN_TYPES
    assert len(outputs) == len(getattr(node, "RETURN_NAMES", ())) == len(getattr(node, "OUTPUT_TOOLTIPS", ()))
    assert all(len(text) > 5 for text in getattr(node, "OUTPUT_TOOLTIPS", ()))
    declared = shown_inputs(node)
    assert all(len(options["tooltip"]) > 10 for _, options in declared.values())
    inspect.signature(getattr(node, node.FUNCTION)).bind(None, **dict.fromkeys(declared))


@pytest.mark.parametrize("name", NODE_IDS)
def test_defaults_are_valid(pack, home, name):
    for kind, options in shown_inputs(pack.classes[f"GANSketching_{name}"]).values():
        if isinstance(kind, list):
            assert options["default"] in (kind or [""])
        elif kind in ("INT", "FLOAT"):
            assert options["min"] <= options["default"] <= options["max"]


@pytest.mark.parametrize("name", NODE_IDS)
def test_help_page_explains_every_socket(pack, home, name):
    node = pack.classes[f"GANSketching_{name}"]
    page = (ROOT / pack.module.WEB_DIRECTORY / "docs" / f"GANSketching_{name}.md").read_text("utf-8")
    assert page.startswith(f"# {node.DISPLAY_NAME}\n")
    names = [*shown_inputs(node), *getattr(node, "RETURN_NAMES", ())]
    assert [n for n in names if f"**{n}**" not in page] == []
    shown = re.findall(r"!\[.+\]\((\w+\.jpg)\)", page)
    assert shown and all((ROOT / pack.module.WEB_DIRECTORY / "docs" / picture).is_file() for picture in shown)


def test_only_host_knows_comfyui():
    knows = re.compile(r"^\s*(import|from) (comfy|folder_paths|server|execution|nodes)\b", re.MULTILINE)
    names = {path.name for path in (ROOT / "nodes").rglob("*.py") if knows.search(path.read_text("utf-8"))}
    assert names == {"host.py"}


def test_help_page_names_no_removed_input(pack, home):
    """The bold names of a page's list of inputs are those of the node."""
    for key, node in pack.classes.items():
        page = (ROOT / pack.module.WEB_DIRECTORY / "docs" / f"{key}.md").read_text("utf-8")
        listed = re.findall(r"^- (\*\*\w+\*\*(?:, \*\*\w+\*\*)*)", page.partition("## Inputs")[2], re.MULTILINE)
        names = {name for entry in listed for name in re.findall(r"\*\*(\w+)\*\*", entry)}
        assert names == {*shown_inputs(node), *getattr(node, "RETURN_NAMES", ())}, key


@pytest.mark.parametrize(("name", "most"), [("FineTuneOptions", 9), ("ProjectImage", 7), ("ProjectSketch", 6)])
def test_few_options_are_shown_and_the_rest_is_advanced(pack, name, most):
    options = [
        options for kind, options in shown_inputs(pack.classes[f"GANSketching_{name}"]).values() if "default" in options
    ]
    assert sum(not option.get("advanced") for option in options) <= most < len(options)


def test_help_pages_mark_the_advanced_inputs(pack, home):
    """With "(advanced)", or below a heading "Advanced"; the options of fine-tuning in the node's order."""
    for key, node in pack.classes.items():
        page = (ROOT / pack.module.WEB_DIRECTORY / "docs" / f"{key}.md").read_text("utf-8")
        inputs = page.partition("## Inputs")[2].partition("## Outputs")[0]
        marked = re.findall(r"\*\*(\w+)\*\* \(advanced\)", inputs)
        marked += re.findall(r"(?:^- |, )\*\*(\w+)\*\*", inputs.partition("### Advanced")[2], re.MULTILINE)
        assert marked == [name for name, (_, options) in shown_inputs(node).items() if options.get("advanced")], key


def test_training_seed_does_not_change_by_itself(pack):
    required = pack.classes["GANSketching_FineTuneMapping"].INPUT_TYPES()["required"]
    assert required["seed"][1]["control_after_generate"] is False
    assert pack.classes["GANSketching_Sample"].INPUT_TYPES()["required"]["seed"][1]["control_after_generate"] is True
