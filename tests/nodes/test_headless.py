"""The runner of API-format workflows: what it refuses, how it executes, ComfyUI's own nodes as stand-ins."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
import torch
from PIL import Image

from gansketching_core.cli.pack import load_pack

load_pack()
headless = importlib.import_module("gansketching_pack.nodes.headless")
core_nodes = importlib.import_module("gansketching_pack.nodes.headless.comfy_nodes")
host = importlib.import_module("gansketching_pack.nodes.host")


class Number:
    """A source with every kind of widget."""

    RETURN_TYPES = ("INT", "NUMBERS")
    FUNCTION = "make"
    calls = 0

    @classmethod
    def INPUT_TYPES(cls):
        return {
            "required": {
                "value": ("INT", {"default": 1, "min": 0, "max": 10}),
                "kind": (["plain", "double"],),
            },
            "optional": {
                "scale": ("FLOAT", {"min": 0.0, "max": 2.0}),
                "negate": ("BOOLEAN", {}),
                "note": ("STRING", {}),
                "colour": ("COMBO", {"options": ["red", "blue"]}),
            },
        }

    def make(self, value, kind, scale=1.0, negate=False, note="", colour="red"):
        type(self).calls += 1
        value = value * (2 if kind == "double" else 1) * (-1 if negate else 1)
        return value, [value, note, scale]


class Many:
    """A list of values: what follows runs once for each."""

    RETURN_TYPES = ("INT", "INT")
    OUTPUT_IS_LIST = (True, False)
    FUNCTION = "make"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {})}}

    def make(self, value):
        return list(range(value)), value


class Join:
    """Takes the list whole."""

    RETURN_TYPES = ("STRING",)
    INPUT_IS_LIST = True
    FUNCTION = "join"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {"forceInput": True})}, "hidden": {"me": "UNIQUE_ID", "all": "PROMPT"}}

    def join(self, value, me, all):
        assert all[0][me[0]]["class_type"] == "Join"
        return (f"{me[0]}:{','.join(map(str, value))}",)


class Picky:
    """Checks its own input."""

    RETURN_TYPES = ("INT",)
    FUNCTION = "give"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {"max": 3})}}

    @classmethod
    def VALIDATE_INPUTS(cls, value):
        return True if value is None or value % 2 == 0 else f"{value} is odd: take an even number"

    def give(self, value):
        if value == 8:
            raise ValueError("eight is too much")
        if value == 6:
            raise KeyError("six")
        if value == 4:
            raise KeyboardInterrupt
        return (value,)


class Typed:
    """Checks the types of its links itself."""

    RETURN_TYPES = ("INT",)
    FUNCTION = "give"
    input_types = None

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"value": ("INT", {})}, "optional": {"first": ("IMAGE",), "second": ("IMAGE",)}}

    @classmethod
    def VALIDATE_INPUTS(cls, input_types):
        cls.input_types = input_types
        return True

    def give(self, value, first=None, second=None):
        return (value,)


REGISTRY = {**core_nodes.COMFY_NODES, "Number": Number, "Many": Many, "Join": Join, "Picky": Picky, "Typed": Typed}


@pytest.fixture(autouse=True)
def folders(tmp_path):
    for name in ("input", "output", "temp"):
        (tmp_path / name).mkdir()
        host.set_folders(**{name: tmp_path / name})
    return tmp_path


def workflow(**changes):
    """Number -> PreviewAny, and changes: node id (n1, n2 ...) = (class, inputs) or None to leave one out."""
    nodes = {
        "1": ("Number", {"value": 3, "kind": "double"}),
        "2": ("PreviewAny", {"source": ["1", 0]}),
    }
    nodes |= {key[1:]: value for key, value in changes.items()}
    return {
        key: {"class_type": value[0], "inputs": dict(value[1])} | ({"_meta": {"title": value[2]}} if value[2:] else {})
        for key, value in nodes.items()
        if value
    }


def run(prompt):
    return headless.run(prompt, REGISTRY)


def refused(prompt):
    calls = Number.calls
    with pytest.raises(headless.WorkflowError) as caught:
        run(prompt)
    assert Number.calls == calls, "nothing may run before everything is checked"
    return str(caught.value)


def test_runs_in_order_of_dependency_and_each_node_once():
    Number.calls, started = 0, []
    prompt = workflow(n3=("PreviewAny", {"source": ["1", 1]}), n4=("Number", {"value": 1, "kind": "plain"}, "unused"))
    prompt = dict(reversed(prompt.items()))
    report = headless.run(prompt, REGISTRY, on_node=lambda *a: started.append(a))
    assert sorted(report.texts) == [("PreviewAny", "6"), ("PreviewAny", '[6, "", 1.0]')]
    assert Number.calls == 1
    assert started[0] == ("Number", 0, 3) and len(started) == 3


def test_lists_are_mapped_as_in_comfyui():
    prompt = workflow(
        n1=("Many", {"value": 3}),
        n3=("Number", {"value": ["1", 0], "kind": "double"}),
        n4=("Join", {"value": ["3", 0]}),
        n2=("PreviewAny", {"source": ["4", 0]}),
    )
    assert run(prompt).texts == [("PreviewAny", "4:0,2,4")]


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"n1": ("Nunber", {})}, ["node 1 (Nunber)", 'did you mean "Number"']),
        ({"n1": ("Number", {"kind": "plain"})}, ["value is missing", "give it a value"]),
        ({"n2": ("PreviewAny", {})}, ["node 2", "source is missing"]),
        ({"n3": ("PreviewImage", {})}, ["images is missing", "connect it"]),
        ({"n1": ("Number", {"valu": 1, "value": 1, "kind": "plain"})}, ['no input "valu"', 'did you mean "value"']),
        ({"n2": ("PreviewAny", {"source": ["9", 0]})}, ["from node 9, which is not in the workflow"]),
        ({"n2": ("PreviewAny", {"source": ["1", 2]})}, ["output 2 of node 1", "has 2 outputs"]),
        ({"n2": ("PreviewAny", {"source": ["1", -1]})}, ["output -1 of node 1"]),
        ({"n3": ("PreviewImage", {"images": ["1", 1]})}, ["images needs IMAGE but gets NUMBERS from node 1"]),
        ({"n3": ("PreviewImage", {"images": ["1", 0]})}, ["images needs IMAGE but gets whole number"]),
        ({"n3": ("PreviewImage", {"images": "x.png"})}, ["must be connected to IMAGE"]),
        ({"n3": ("PreviewImage", {"images": ["1"]})}, ["a link [node id, output number]"]),
        ({"n1": ("Number", {"value": 11, "kind": "plain"})}, ["value 11 is out of range: use 0 to 10"]),
        ({"n1": ("Number", {"value": "many", "kind": "plain"})}, ['value "many" is not a whole number']),
        ({"n1": ("Number", {"value": None, "kind": "plain"})}, ["value null is not a whole number"]),
        ({"n1": ("Number", {"value": 1, "kind": "plan"})}, ['"plan" is not in its list', '"plain"', "plain, double"]),
        ({"n1": ("Number", {"value": 1, "kind": "plain", "colour": "green"})}, ["red, blue"]),
        ({"n1": ("Number", {"value": 1, "kind": "plain", "scale": float("nan")})}, ["scale NaN is not a number"]),
        ({"n1": ("Number", {"value": 1, "kind": "plain", "negate": "maybe"})}, ["is not a true or false"]),
        ({"n1": ("Picky", {"value": 5})}, ["5 is odd: take an even number"]),
        ({"n2": None}, ["nothing to do", "SaveImage"]),
        (
            {"n1": ("Picky", {"value": ["3", 0]}, "One"), "n3": ("Picky", {"value": ["1", 0]}, "Two")},
            ["wait for each other", '1 "One" -> 3 "Two" -> 1 "One"'],
        ),
        ({"n1": ("Picky", {"value": ["1", 0]})}, ["wait for each other"]),
    ],
)
def test_mistakes_are_named_before_anything_runs(changes, words):
    message = refused(workflow(**changes))
    for part in words:
        assert part in message
    assert "\n" not in message


def test_all_mistakes_are_listed_at_once():
    message = refused(
        workflow(n1=("Number", {"value": -1, "kind": "no", "x": 1}), n3=("SaveImage", {"filename_prefix": "../x"}, "S"))
    )
    assert len(message.splitlines()) == 5
    assert 'node 3 "S" (SaveImage): the input images is missing' in message


def test_a_node_without_effect_may_be_incomplete():
    assert run(workflow(n3=("Number", {}))).texts == [("PreviewAny", "6")]


def test_a_nodes_own_check_replaces_the_range():
    assert run(workflow(n1=("Picky", {"value": 10}))).texts == [("PreviewAny", "10")]


def test_a_node_that_asks_gets_the_types_of_its_links_only():
    """As in ComfyUI, which then leaves comparing them to the node."""
    show = ("PreviewAny", {"source": ["3", 0]})
    run(workflow(n3=("Typed", {"value": ["1", 0], "second": ["1", 1]}), n4=show))
    assert Typed.input_types == {"value": "INT", "second": "NUMBERS"}
    run(workflow(n3=("Typed", {"value": 3}), n4=show))
    assert Typed.input_types == {}
    assert "output 5 of node 1" in refused(workflow(n3=("Typed", {"value": 3, "first": ["1", 5]}), n4=show))
    assert Typed.input_types == {}, "a broken link has no type"


def test_errors_while_running_name_the_node():
    with pytest.raises(headless.WorkflowError, match=r'node 1 "P" \(Picky\): eight is too much'):
        run(workflow(n1=("Picky", {"value": 8}, "P")))
    with pytest.raises(RuntimeError, match=r"node 1 \(Picky\): KeyError: 'six'"):
        run(workflow(n1=("Picky", {"value": 6})))


def test_interrupt_passes_and_the_report_keeps_what_was_done():
    report = headless.Report()
    prompt = workflow(
        n3=("Picky", {"value": ["4", 0]}), n4=("PrimitiveInt", {"value": 4}), n5=("Join", {"value": ["3", 0]})
    )
    prompt |= workflow(n6=("PreviewAny", {"source": ["5", 0]}))
    with pytest.raises(KeyboardInterrupt):
        headless.run(prompt, REGISTRY, report=report)
    assert report.texts == [("PreviewAny", "6")], "the text of the branch that was shown before"


# ------------------------------------------------------------------------------------------------- reading and --set


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "holds no workflow"),
        ("{}", "holds no workflow"),
        ('{"nodes": [], "links": []}', r"Export \(API\)"),
        ('{"1": {"inputs": {}}}', "node 1 has no class_type"),
        ('{"1": 3}', "node 1 has no class_type"),
        ('{"1": {"class_type": "Number", "inputs": []}}', 'the "inputs" of node 1 must be an object'),
    ],
)
def test_files_that_are_no_workflow(tmp_path, text, words):
    (tmp_path / "w.json").write_text(text)
    with pytest.raises(headless.WorkflowError, match=words):
        headless.read_workflow(tmp_path / "w.json")


def test_the_api_form_is_suggested(tmp_path):
    (tmp_path / "api").mkdir()
    for folder in (tmp_path, tmp_path / "api"):
        (folder / "w.json").write_text('{"nodes": [], "links": []}')
    with pytest.raises(headless.WorkflowError) as caught:
        headless.read_workflow(tmp_path / "w.json")
    assert f"run {tmp_path / 'api' / 'w.json'}" in str(caught.value)


def test_control_characters_never_reach_the_terminal():
    escape = "\x1b[2J"
    assert "\x1b" not in refused(workflow(n1=("Number", {"value": 1, "kind": escape, escape: 1}, escape)))
    report = run(workflow(n2=("PreviewAny", {"source": f"a{escape}\nb"}, f"T{escape}")))
    assert report.texts == [("T?[2J", "a?[2J\nb")]


def test_reads_plain_files_and_request_bodies(tmp_path):
    prompt = workflow()
    for body in (prompt, {"prompt": prompt, "client_id": "x"}):
        (tmp_path / "w.json").write_text(json.dumps(body))
        assert headless.read_workflow(tmp_path / "w.json") == prompt


def test_set_by_id_title_and_class():
    prompt = workflow(n1=("Number", {"value": 1, "kind": "plain"}, "My number. Really"))
    for setting in (
        "1.value=7",
        "My number. Really.kind=double",
        "Number.note=a=b",
        "1.scale=0.5",
        "1.negate=TRUE",
        "1.colour=blue",
    ):
        headless.assign(prompt, REGISTRY, setting)
    assert prompt["1"]["inputs"] == {
        "value": 7,
        "kind": "double",
        "note": "a=b",
        "scale": 0.5,
        "negate": True,
        "colour": "blue",
    }


@pytest.mark.parametrize(
    "setting, words",
    [
        ("value=3", "is not NODE.INPUT=VALUE"),
        ("1.value", "is not NODE.INPUT=VALUE"),
        ("8.value=1", 'no node "8"; it has 1 = Number; 2 = PreviewAny'),
        ("1.size=1", 'no input "size"'),
        ("1.value=few", 'value="few" is not a whole number'),
        ("1.negate=perhaps", "is not a true or false"),
        ("2.source=1", "source is a socket"),
        ("PreviewAny.source=1", "fits several nodes"),
    ],
)
def test_settings_that_cannot_be_made(setting, words):
    prompt = workflow(n3=("PreviewAny", {"source": ["1", 0]}, "Other")) if "fits" in words else workflow()
    with pytest.raises(headless.WorkflowError) as caught:
        headless.assign(prompt, REGISTRY, setting)
    assert words in str(caught.value)


def test_set_out_of_range_is_found_by_the_check():
    prompt = workflow()
    headless.assign(prompt, REGISTRY, "1.value=99")
    assert "out of range" in refused(prompt)


# -------------------------------------------------------------------------------------------------- ComfyUI's nodes


def save_picture(path, size=(20, 12), mode="RGB", seed=0):
    channels = len(mode) if mode != "L" else 1
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    Image.fromarray(pixels.squeeze(), mode).save(path)
    return pixels


def test_load_and_save_keep_pixels_and_metadata(folders):
    pixels = save_picture(folders / "input" / "a.png")
    prompt = workflow(
        n1=("LoadImage", {"image": "a.png", "upload": "image"}),
        n2=("SaveImage", {"images": ["1", 0], "filename_prefix": "fruit/x_%width%x%height%"}),
    )
    first, second = run(prompt).files[0], run(prompt).files[0]
    assert first == folders / "output" / "fruit" / "x_20x12_00001_.png" and second.name == "x_20x12_00002_.png"
    assert (np.asarray(Image.open(first)) == pixels).all()
    assert headless.read_workflow(first) == prompt
    assert json.loads(Image.open(first).text["prompt"])["1"]["inputs"] == {"image": "a.png"}


def test_numbers_go_on_after_the_highest(folders):
    for name in ("pic_00007_.png", "PIC_00009_.png", "picture_00020_.png", "pic_x.png"):
        (folders / "output" / name).touch()
    images = {"images": torch.zeros(2, 4, 4, 3), "filename_prefix": "pic"}
    names = [i["filename"] for i in core_nodes.SaveImage().save(**images)["ui"]["images"]]
    assert names == ["pic_00010_.png", "pic_00011_.png"]


def test_preview_goes_to_the_temporary_folder(folders):
    save_picture(folders / "input" / "a.png")
    prompt = workflow(n1=("LoadImage", {"image": "a.png"}), n2=("PreviewImage", {"images": ["1", 0]}))
    assert run(prompt).files == [folders / "temp" / "ComfyUI_temp_00001_.png"]


@pytest.mark.parametrize(
    "name", ["../a.png", "/etc/passwd", "x/../../a.png", "C:\\a.png", "\\\\server\\a.png", "..\\a.png", "../a [output]"]
)
def test_names_never_leave_their_folder(folders, name):
    save_picture(folders / "a.png")
    load = ("LoadImage", {"image": name})
    assert "use a name inside" in refused(workflow(n1=load))
    assert "use a name inside" in refused(workflow(n1=("LoadImageMask", {"image": name, "channel": "red"})))
    for kind, more in (
        ("SaveImage", {}),
        ("SaveAnimatedWEBP", {"fps": 6, "lossless": True, "quality": 80, "method": "default"}),
    ):
        save = (kind, {"images": ["1", 0], "filename_prefix": name, **more})
        assert "use a name inside" in refused(workflow(n1=("LoadImage", {"image": "b.png"}), n2=save))
    with pytest.raises(ValueError, match="use a name inside"):  # a linked value is not known before the run
        core_nodes.SaveImage().save(torch.zeros(1, 4, 4, 3), name)


def test_missing_picture_and_subfolders(folders):
    assert 'there is no image "no.png"' in refused(workflow(n1=("LoadImage", {"image": "no.png"})))
    (folders / "input" / "deep").mkdir()
    save_picture(folders / "input" / "deep" / "a.png")
    save_picture(folders / "output" / "b.png")
    assert core_nodes.LoadImage().load("deep/a.png")[0].shape == (1, 12, 20, 3)
    assert core_nodes.LoadImage().load("b.png [output]")[0].shape == (1, 12, 20, 3)


def test_alpha_becomes_an_inverted_mask(folders):
    pixels = save_picture(folders / "input" / "a.png", mode="RGBA")
    image, mask = core_nodes.LoadImage().load("a.png")
    assert np.allclose(mask[0], 1 - pixels[..., 3] / 255.0) and image.shape == (1, 12, 20, 3)
    red = core_nodes.LoadImageMask().load("a.png", "red")[0]
    assert np.allclose(red[0], pixels[..., 0] / 255.0)
    assert torch.equal(core_nodes.LoadImageMask().load("a.png", "alpha")[0], mask)
    save_picture(folders / "input" / "b.png")
    assert core_nodes.LoadImage().load("b.png")[1].shape == (1, 64, 64)


def test_batches_and_sizes():
    a, b = torch.rand(2, 8, 12, 3), torch.rand(1, 16, 16, 3)
    (joined,) = core_nodes.ImageBatch().join(a, b)
    assert joined.shape == (3, 8, 12, 3) and torch.equal(joined[:2], a)
    middle = b[:, 3:13]  # 16x16 cut to 3:2
    expected = torch.nn.functional.interpolate(middle.movedim(-1, 1), (8, 12), mode="bilinear").movedim(1, -1)
    assert torch.allclose(joined[2:], expected)
    assert core_nodes.RepeatImageBatch().repeat(a, 3)[0].shape[0] == 6
    assert torch.equal(core_nodes.ImageFromBatch().pick(a, 5, 4)[0], a[1:])
    scale = core_nodes.ImageScale().scale
    assert scale(a, "lanczos", 24, 0, "disabled")[0].shape == (2, 16, 24, 3)
    assert scale(a, "area", 0, 4, "center")[0].shape == (2, 4, 6, 3)
    assert scale(a, "bicubic", 0, 0, "disabled")[0] is a


def test_animation_is_one_file_with_the_workflow(folders):
    images = torch.rand(3, 8, 8, 3)
    shown = core_nodes.SaveAnimatedWEBP().save(images, "film", 10.0, True, 80, "fastest", prompt={"1": {}})["ui"]
    with Image.open(folders / "output" / shown["images"][0]["filename"]) as film:
        assert film.n_frames == 3 and film.getexif()[0x0110] == 'prompt:{"1": {}}'
        assert (np.asarray(film.convert("RGB")) == (images[0].numpy() * 255).astype(np.uint8)).all()


def test_primitives_hand_their_value_on():
    prompt = workflow(n1=("PrimitiveInt", {"value": 7}), n3=("PrimitiveBoolean", {"value": False}))
    assert run(prompt).texts == [("PreviewAny", "7")]
    assert "PrimitiveStringMultiline" in core_nodes.COMFY_NODES
