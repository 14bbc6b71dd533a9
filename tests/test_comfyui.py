"""The pack inside a real ComfyUI.

COMFYUI_PATH: its checkout; without it all is skipped. COMFYUI_PYTHON: the Python that runs it, this one by default.
"""

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

from gansketching_core import checkpoints
from gansketching_core.stylegan2 import Discriminator, GanConfig, GanModel, Generator

COMFYUI = os.environ.get("COMFYUI_PATH")
ROOT = Path(__file__).resolve().parent.parent
WORKFLOW = json.loads((ROOT / "workflows/api/sketch_your_own_gan.json").read_text("utf-8"))
PACK_FOLDER = "ComfyUI-GAN_sketching-main"  # as a downloaded archive may be called: the pack must not depend on it

pytestmark = pytest.mark.skipif(not COMFYUI, reason="COMFYUI_PATH is not set to a checkout of ComfyUI")


class Server:
    """A ComfyUI on a free port, with its own base folder."""

    def __init__(self, base: Path, *options: str):
        self.base, self.log_file = base, base / "log.txt"
        self.start(*options)

    def start(self, *more: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        python = os.environ.get("COMFYUI_PYTHON", sys.executable)
        database = f"sqlite:///{self.base / 'comfyui.db'}"
        command = [python, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(self.port)]
        command += ["--disable-auto-launch", "--disable-api-nodes", "--base-directory", str(self.base)]
        with self.log_file.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--database-url", database, *more],
                cwd=COMFYUI,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        deadline = time.monotonic() + 180
        while "To see the GUI go to" not in self.log():
            assert self.process.poll() is None and time.monotonic() < deadline, self.log()
            time.sleep(0.2)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(30)

    def log(self) -> str:
        return self.log_file.read_text("utf-8", errors="replace")

    def get(self, path: str):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as response:
            body = response.read().decode()
        return json.loads(body) if "json" in response.headers["Content-Type"] else body

    def post(self, path: str, **data):
        url, headers = f"http://127.0.0.1:{self.port}{path}", {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, json.dumps(data).encode(), headers), timeout=60) as r:
            return r.read()

    def queue(self, prompt: dict, client: str = "") -> str:
        return json.loads(self.post("/prompt", prompt=prompt, client_id=client))["prompt_id"]

    def finished(self, number: str, seconds: float = 180) -> dict:
        deadline = time.monotonic() + seconds
        while number not in (history := self.get(f"/history/{number}")):
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)
        return history[number]

    def run(self, prompt: dict) -> dict:
        """-> outputs of the nodes, by node id."""
        entry = self.finished(self.queue(prompt))
        assert entry["status"]["status_str"] == "success", entry["status"]
        return entry["outputs"]


class Events:
    """The messages that the editor would get: JSON ones as dicts, previews as bytes."""

    def __init__(self, server: Server, client: str):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=120)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /ws?clientId={client} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        self.stream = self.socket.makefile("rb")
        assert b"101" in self.stream.readline()
        while self.stream.readline().strip():
            pass

    def next(self) -> dict | bytes:
        """RFC 6455: frames of a server are not masked and, here, not fragmented."""
        while True:
            first, length = self.stream.read(2)
            if length == 126:
                (length,) = struct.unpack(">H", self.stream.read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self.stream.read(8))
            data = self.stream.read(length)
            if first & 15 == 1:
                return json.loads(data)
            if first & 15 == 2:
                return data

    def close(self) -> None:
        self.stream.close()
        self.socket.close()


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
    checkpoints.save_model(model, base / "models/stylegan/tiny.safetensors")
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
    times = [float(found[1]) for line in about_pack if (found := re.match(r"\s*([\d.]+) seconds:", line))]
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
    ours = {
        bare.match(line)[0] for line in re.findall(r'^    "([^"]+)",$', (ROOT / "pyproject.toml").read_text(), re.M)
    }
    python = os.environ.get("COMFYUI_PYTHON", sys.executable)
    check = "import importlib.metadata as m, sys; [m.version(name) for name in sys.argv[1:]]"
    subprocess.run([python, "-c", check, *ours], check=True)
    assert {"torch", "numpy", "pillow", "safetensors", "kornia", "einops", "scipy", "tqdm"} <= own
