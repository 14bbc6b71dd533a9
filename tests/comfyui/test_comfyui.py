"""The pack inside a real ComfyUI (see helpers/comfyui_server.py)."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
import torch
from comfyui_server import COMFYUI, ROOT, Events, Server

from gansketching_core.checkpoints import native
from gansketching_core.networks.stylegan2 import Discriminator, GanConfig, GanModel, Generator

WORKFLOW = json.loads((ROOT / "workflows/api/sketch_a_shape.json").read_text("utf-8"))
PACK_FOLDER = "ComfyUI-GAN_sketching-main"  # as a downloaded archive may be called: the pack must not depend on it

pytestmark = pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH is not set to a checkout of ComfyUI")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp("comfy ui")
    for name in ("custom_nodes", "models/stylegan", "input", "output", "temp", "user"):
        (base / name).mkdir(parents=True)
    (base / "custom_nodes" / PACK_FOLDER).symlink_to(ROOT)
    torch.manual_seed(0)
    config = GanConfig(resolution=32, z_dim=32, w_dim=32, mapping_layers=2, channels=(32, 32, 16, 16))
    generator = Generator(config)
    model = GanModel(generator, Discriminator(config), config, generator.mean_w(), "tiny")
    native.save_model(model, base / "models/stylegan/tiny.safetensors")
    server = Server(base)
    yield server
    server.stop()


def workflow(**options) -> dict:
    """The main workflow with a tiny model and these fine-tuning options."""
    prompt = json.loads(json.dumps(WORKFLOW))
    changes = {
        "LoadStyleGAN": {"model_name": "tiny.safetensors"},
        "LoadPhotoSketch": {"network": "line extractor (no weights)"},
        "LoadSketches": {"limit": 3, "size": 64},
        "FineTuneOptions": {"batch": 2, "precision": "float32", **options},
        "Sample": {"count": 4},
    }
    for node in prompt.values():
        for name, value in changes.get(node["class_type"].removeprefix("GANSketching_"), {}).items():
            node["inputs"][name] = value
    return prompt


REPORT = next(key for key, node in WORKFLOW.items() if node["class_type"] == "PreviewAny")


def test_starts_quickly_without_a_warning(server):
    log = server.log()
    about_pack = [line for line in log.splitlines() if PACK_FOLDER in line or "GANSketching" in line]
    times = [float(found[1]) for line in about_pack if (found := re.search(r"([\d.]+) seconds:", line))]
    assert len(times) == 1 and times[0] < 10, log
    assert len(about_pack) == 1 and "IMPORT FAILED" not in log and "Traceback" not in log, log


def test_every_node_is_listed_with_tooltips_and_help(server):
    listed = {name: info for name, info in server.get("/object_info").items() if name.startswith("GANSketching_")}
    assert len(listed) == len(list((ROOT / "nodes/web/docs").glob("*.md"))) >= 10
    for name, info in listed.items():
        inputs = [spec for section in ("required", "optional") for spec in info["input"].get(section, {}).values()]
        assert all(options["tooltip"] for _, options in inputs), name
        assert len(info.get("output_tooltips", ())) == len(info["output"]), name
        assert info["description"] and info["category"].startswith("GANSketching/")
        page = server.get(f"/extensions/{PACK_FOLDER}/docs/{name}.md")
        assert page.startswith(f"# {info['display_name']}")
    assert "tiny.safetensors" in listed["GANSketching_LoadStyleGAN"]["input"]["required"]["model_name"][0]


def test_missing_model_is_refused_before_running(server):
    prompt = workflow(steps=1)
    load = next(node for node in prompt.values() if node["class_type"] == "GANSketching_LoadStyleGAN")
    load["inputs"]["model_name"] = "cat.pkl"
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.queue(prompt)
    assert refused.value.code == 400 and "models/stylegan" in refused.value.read().decode()


def test_workflow_runs_and_its_result_loads_again(server):
    outputs = server.run(workflow(steps=3))
    assert "Trained from the start" in outputs[REPORT]["text"][0]
    pictures = [image for shown in outputs.values() for image in shown.get("images", [])]
    assert {image["type"] for image in pictures} == {"output", "temp"}
    for image in pictures:
        assert (server.base / image["type"] / image["subfolder"] / image["filename"]).stat().st_size > 1000
    saved = next(iter((server.base / "output/gansketching").glob("banana_*.safetensors")))
    prompt = workflow(steps=3)
    load = next(node for node in prompt.values() if node["class_type"] == "GANSketching_LoadStyleGAN")
    load["inputs"]["model_name"] = f"{saved.name} [output]"
    assert "Trained from the start" in server.run(prompt)[REPORT]["text"][0]
    assert "Traceback" not in server.log()


def test_cancelling_is_quick_and_the_next_run_goes_on(server):
    events = Events(server, "test")
    server.queue(workflow(steps=25), "test")
    steps, previews = [], 0
    while not steps or steps[-1] < 5:
        event = events.next()
        previews += (
            isinstance(event, dict) and event["type"] == "gansketching.training" and bool(event["data"]["picture"])
        )
        if isinstance(event, dict) and event["type"] == "progress" and event["data"]["max"] == 25:
            steps.append(event["data"]["value"])
    started = time.monotonic()
    server.post("/interrupt")
    while not isinstance(event, dict) or event["type"] != "execution_interrupted":
        event = events.next()
    assert time.monotonic() - started < 10  # not after the training: about 0.3 s on a quiet machine
    events.close()
    assert steps == [1, 2, 3, 4, 5] and previews >= 1

    report = server.run(workflow(steps=25))[REPORT]["text"][0]
    reached = int(re.search(r"Went on from step (\d+)", report)[1])
    assert 5 <= reached < 25

    server.stop()
    server.start()
    began = time.monotonic()
    assert "no training needed" in server.run(workflow(steps=25))[REPORT]["text"][0]
    assert time.monotonic() - began < 10


def test_freeing_memory_costs_no_training(server):
    """After /free ComfyUI has forgotten every output; the models come from their files again."""
    server.run(workflow(steps=3))
    server.post("/free", unload_models=True, free_memory=True)
    time.sleep(2)  # ComfyUI does it when it is idle
    number = server.queue(workflow(steps=3))
    entry = server.finished(number)
    assert entry["status"]["status_str"] == "success", entry["status"]
    (cached,) = (detail["nodes"] for kind, detail in entry["status"]["messages"] if kind == "execution_cached")
    assert cached == [] and "no training needed" in entry["outputs"][REPORT]["text"][0]


def test_stop_and_keep(server):
    events = Events(server, "watcher")
    number = server.queue(workflow(steps=400, learning_rate=0.003))  # of nobody that listens: all are told
    message = {}
    while message.get("step", 0) < 3:
        event = events.next()
        message = event["data"] if isinstance(event, dict) and event["type"] == "gansketching.training" else {}
    events.close()
    assert message["state"] == "training" and message["total"] == 400 and message["seconds_left"] > 0
    assert message["picture"].startswith("data:image/jpeg") and "G sketch" in message["curves"]
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.post("/gansketching/stop", token="0123456789abcdef")
    assert refused.value.code == 404
    server.post("/gansketching/stop", token=message["token"])
    entry = server.finished(number)
    assert entry["status"]["status_str"] == "success", entry["status"]
    report = entry["outputs"][REPORT]["text"][0]
    assert int(re.search(r"Stopped and kept at step (\d+) of 400", report)[1]) < 100


def test_downloads_start_only_with_the_licence(server):
    prompt = {
        "1": {"class_type": "GANSketching_GetModel", "inputs": {"offer": "ffhq"}},
        "2": {
            "class_type": "GANSketching_SaveCustomisedModel",
            "inputs": {"model": ["1", 0], "name": "x"},
        },
    }
    with pytest.raises(urllib.error.HTTPError) as refused:
        server.queue(prompt)
    assert "press Download in the node" in refused.value.read().decode()
    for body in ({"offer": "ffhq"}, {"offer": "/etc/passwd", "accepted": True}):
        with pytest.raises(urllib.error.HTTPError) as refused:
            server.post("/gansketching/download", **body)
        assert refused.value.code in (400, 403)


def test_stray_files_are_not_offered_and_other_folders_are(server, tmp_path):
    """What is not a model is not listed; the folders of extra_model_paths.yaml are."""
    (server.base / "models/stylegan/notes.txt").write_text("no model")
    names = server.get("/object_info/GANSketching_LoadStyleGAN")["GANSketching_LoadStyleGAN"]["input"]["required"]
    listed = names["model_name"][0]
    assert "tiny.safetensors" in listed and not any("notes" in name for name in listed)
    extra = tmp_path / "elsewhere"
    (extra / "gans").mkdir(parents=True)
    (extra / "gans/far.safetensors").write_bytes((server.base / "models/stylegan/tiny.safetensors").read_bytes())
    paths = tmp_path / "extra.yaml"
    paths.write_text(f"other:\n  base_path: {extra}\n  stylegan: gans\n")
    server.stop()
    server.start("--extra-model-paths-config", str(paths))
    names = server.get("/object_info/GANSketching_LoadStyleGAN")["GANSketching_LoadStyleGAN"]["input"]["required"]
    assert {"far.safetensors", "tiny.safetensors"} <= set(names["model_name"][0])


def test_the_pack_asks_for_nothing_that_comfyui_lacks():
    """Each requirement is one of ComfyUI's, or comes with one of them."""
    bare = re.compile(r"^[A-Za-z0-9_.-]+")
    own = {
        bare.match(line)[0].lower()
        for line in (Path(COMFYUI) / "requirements.txt").read_text().splitlines()
        if line[:1].isalpha()
    }
    listed = re.search(r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S)[1]
    ours = {bare.match(line)[0] for line in re.findall(r'"([^"]+)"', listed)}
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    check = "import importlib.metadata as m, sys; [m.version(name) for name in sys.argv[1:]]"
    subprocess.run([python, "-c", check, *ours], check=True)
    assert {"torch", "numpy", "pillow", "safetensors", "kornia", "einops", "scipy", "tqdm"} <= own
