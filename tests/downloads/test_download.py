"""Downloads from a server that breaks off, stalls, changes its mind, or sends something else."""

from __future__ import annotations

import hashlib
import io
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch
from formats import rosinality_training, small_model
from tiny import same_weights, tiny_model

from gansketching_core.checkpoints import load, native
from gansketching_core.cli import download
from gansketching_core.cli.main import main
from gansketching_core.downloads import fetch as fetch_module
from gansketching_core.downloads import install as install_module
from gansketching_core.downloads.catalogue import OFFERS, Offer
from gansketching_core.downloads.fetch import fetch
from gansketching_core.downloads.install import install

BODY = bytes(range(256)) * 4000  # 1 MB


class Site:
    """What the server answers. Faults are taken from `faults`, one for each request, then it behaves."""

    def __init__(self):
        self.body, self.version, self.faults, self.requests = BODY, '"one"', [], []
        self.kind, self.status = "application/octet-stream", 200


@pytest.fixture
def site(monkeypatch):
    for name, setting in {"TIMEOUT": 0.5, "TRIES": 4, "PAUSE": 0.01, "SCHEMES": ("http", "https")}.items():
        monkeypatch.setattr(fetch_module, name, setting)
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.send_response(200)
            self.send_header("Content-Length", str(len(site.body)))
            self.end_headers()

        def do_GET(self):
            site.requests.append(dict(self.headers))
            fault, body, start = (site.faults.pop(0) if site.faults else ""), site.body, 0
            if fault == "redirect":
                self.send_response(302)
                self.send_header("Location", "ftp://example.org/model")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            asked = self.headers.get("Range")
            if asked and self.headers.get("If-Range") == site.version:
                start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(body)}")
                self.send_header("Content-Length", "0")
                return self.end_headers()
            status = 206 if start else site.status
            self.send_response(int(fault) if fault.isdigit() else status)
            if start:
                self.send_header("Content-Range", f"bytes {start + 7 * (fault == 'shift')}-{len(body) - 1}/{len(body)}")
            if fault == "endless":
                self.send_header("Connection", "close")
                self.end_headers()
                return self.wfile.write(body)
            self.send_header("Content-Type", site.kind)
            self.send_header("ETag", site.version)
            self.send_header("Content-Length", str(len(body) - start))
            self.end_headers()
            if fault == "break":
                self.wfile.write(body[start : start + 300_000])
                return self.connection.close()
            if fault == "stall":
                self.wfile.write(body[start : start + 300_000])
                self.wfile.flush()
                time.sleep(1)
                return self.connection.close()
            self.wfile.write(body[start:])

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    site.address = f"http://127.0.0.1:{server.server_port}/model.bin"
    yield site
    server.shutdown()


def get(site, folder, **options):
    return fetch(site.address, folder / "model.bin", **options)


def test_a_file_arrives_whole_with_its_hash(site, tmp_path):
    reports = []
    assert get(site, tmp_path, on_bytes=lambda *now: reports.append(now)) == hashlib.sha256(BODY).hexdigest()
    assert (tmp_path / "model.bin").read_bytes() == BODY and reports[-1] == (len(BODY), len(BODY))
    fetch_module.discard(tmp_path / "model.bin")
    assert not tmp_path.exists()


@pytest.mark.parametrize("fault", ["break", "stall"])
def test_a_broken_or_stalled_connection_goes_on_where_it_was(site, tmp_path, fault):
    site.faults = [fault, fault]
    get(site, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == BODY
    assert [int(r.get("Range", "bytes=0-")[6:-1]) > 0 for r in site.requests] == [False, True, True]


def test_a_later_call_goes_on(site, tmp_path):
    def poll():
        if (tmp_path / "model.bin.part").exists() and (tmp_path / "model.bin.part").stat().st_size > 400_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(site, tmp_path, poll=poll)
    get(site, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == BODY and "Range" in site.requests[-1]


def test_another_file_on_the_server_is_not_mixed_in(site, tmp_path, monkeypatch):
    site.faults = ["break"]
    monkeypatch.setattr(fetch_module, "TRIES", 1)
    with pytest.raises(ConnectionError, match=r"0\.3 MB are kept: try again later to resume it"):
        get(site, tmp_path)
    site.body, site.version = BODY[::-1], '"two"'
    get(site, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == BODY[::-1]


def test_a_part_from_another_offset_is_not_appended(site, tmp_path):
    site.faults = ["break", "shift"]
    get(site, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == BODY and len(site.requests) == 3


@pytest.mark.parametrize("note", ["", "http", "\n"])
def test_a_crash_while_writing_does_not_stop_later_calls(site, tmp_path, note):
    (tmp_path / "model.bin.part").write_bytes(b"half")
    (tmp_path / "model.bin.part.txt").write_text(note)
    get(site, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == BODY


def test_a_weak_tag_is_not_used_to_go_on(site, tmp_path):
    site.version, site.faults = 'W/"one"', ["break"]
    get(site, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == BODY and "Range" not in site.requests[1]


def test_a_file_without_an_end_is_stopped(site, tmp_path, monkeypatch):
    monkeypatch.setattr(fetch_module, "LARGEST", 500_000)
    site.faults = ["endless"]
    with pytest.raises(ValueError, match="sends more than 500,000 bytes; stopped"):
        get(site, tmp_path)
    with pytest.raises(ValueError, match="more than a model can be"):
        get(site, tmp_path)


def test_a_busy_server_is_asked_again_and_a_missing_file_is_not(site, tmp_path):
    site.faults = ["503", "429"]
    get(site, tmp_path)
    assert len(site.requests) == 3
    site.faults = ["404"]
    with pytest.raises(ValueError, match="the server answers 404"):
        get(site, tmp_path / "other")
    assert len(site.requests) == 4


@pytest.mark.parametrize("faults", [["503"] * 4, ["break", "503", "503", "503"]])
def test_a_server_that_stays_busy_is_an_error(site, tmp_path, faults):
    site.faults = faults
    with pytest.raises(ConnectionError, match=r"broke off 4 times \(HTTP Error 503.*are kept: try again later"):
        get(site, tmp_path)
    assert not (tmp_path / "model.bin").exists() and len(site.requests) == 4
    get(site, tmp_path)
    assert (tmp_path / "model.bin").read_bytes() == BODY


def test_unsafe_addresses_are_refused(site, tmp_path, monkeypatch):
    site.faults = ["redirect"]
    with pytest.raises(ValueError, match=r"ftp://example\.org/model is not a safe address"):
        get(site, tmp_path)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"http://127.*not a safe address"):
        get(site, tmp_path)
    with pytest.raises(ValueError, match="not a safe address"):
        fetch_module._Redirects().redirect_request(None, None, 302, "", {}, "http://example.org/model")


def test_web_pages_are_refused(site, tmp_path):
    site.kind = "text/html; charset=utf-8"
    with pytest.raises(ValueError, match="a web page, not a model"):
        get(site, tmp_path)


def test_a_full_disk_is_reported_before_the_download(site, tmp_path, monkeypatch):
    monkeypatch.setattr(install_module.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 2**20}))
    with pytest.raises(ValueError, match=r"the disk has 0.0 GB free, 1.1 GB are needed"):
        get(site, tmp_path)


# -------------------------------------------------------------------------------------------------------- installing


def offer(site, name="model.bin", folder="stylegan"):
    return Offer("tiny", "a test", site.address.replace("model.bin", name), "MIT", folder)


def test_a_model_is_turned_into_safetensors_and_names_its_source(site, tmp_path):
    native.save_model(tiny_model(), tmp_path / "m.safetensors")
    site.body = (tmp_path / "m.safetensors").read_bytes()
    (path,) = install(offer(site, "m.safetensors"), tmp_path / "models")
    assert path == tmp_path / "models/stylegan/tiny.safetensors"
    model = load.load_model(path)
    assert same_weights(model, tiny_model()) and model.metadata["licence"] == "MIT"
    assert model.metadata["source_sha256"] == hashlib.sha256(site.body).hexdigest()
    assert [p.name for p in path.parent.iterdir()] == ["tiny.safetensors"]


def test_a_wrong_file_leaves_nothing_behind(site, tmp_path):
    with pytest.raises(ValueError, match=r"model\.bin"):
        install(offer(site), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_of_the_user_stay(site, tmp_path):
    """Also those called like the download, or like what comes out of it."""
    native.save_model(tiny_model(), tmp_path / "m.safetensors")
    site.body, models = (tmp_path / "m.safetensors").read_bytes(), tmp_path / "models"
    (models / "stylegan").mkdir(parents=True)
    (models / "stylegan/m.safetensors").write_text("mine")
    install(offer(site, "m.safetensors"), models)
    assert (models / "stylegan/m.safetensors").read_text() == "mine"
    install(offer(site, "m.safetensors"), models)  # its own earlier result may be replaced
    asked = len(site.requests)
    with pytest.raises(ValueError, match=r"m\.safetensors exists already; rename it first, or leave out --keep"):
        install(offer(site, "m.safetensors"), models, keep=True)
    (models / "stylegan/tiny.safetensors").write_text("mine")
    with pytest.raises(ValueError, match=r"tiny\.safetensors exists already and did not come from"):
        install(offer(site, "m.safetensors"), models)
    assert (models / "stylegan/tiny.safetensors").read_text() == "mine" and len(site.requests) == asked


def test_cancelled_while_unpacking_nothing_is_sent_again(site, tmp_path):
    buffer, packed, models = io.BytesIO(), io.BytesIO(), tmp_path / "models"
    torch.save(rosinality_training(small_model()), buffer)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("cat/netG.pth", buffer.getvalue())
        archive.writestr("horse/netG.pth", buffer.getvalue())
    site.body = packed.getvalue()

    def poll():
        if (models / install_module.DOWNLOADS / "models").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        install(offer(site, "models.zip", ""), models, poll=poll)
    assert not (models / "stylegan").exists()
    written = install(offer(site, "models.zip", ""), models)
    assert [str(path.relative_to(models)) for path in written] == [
        "stylegan/tiny/cat.safetensors",
        "stylegan/tiny/horse.safetensors",
    ]
    assert site.requests[1]["Range"] == f"bytes={len(site.body)}-" and len(site.requests) == 2
    assert [path.name for path in models.iterdir()] == ["stylegan"]


def test_a_zip_gives_its_models_and_stays_in_its_folder(site, tmp_path):
    model, buffer, damaged = small_model(), io.BytesIO(), io.BytesIO()
    torch.save(rosinality_training(model), buffer)
    torch.save({"input.input": torch.zeros(1, 8, 4, 4)}, damaged)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("weights/readme.txt", "hello")
        archive.writestr("weights/damaged.pth", damaged.getvalue())
        archive.writestr("weights/horse.pt", buffer.getvalue())
        archive.writestr("weights/broken.pth", b"not a model")
    site.body = packed.getvalue()
    (path,) = install(offer(site, "models.zip", ""), tmp_path / "models")
    assert path == tmp_path / "models/stylegan/tiny/horse.safetensors"
    assert load.load_model(path).config == model.config
    path.unlink()
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("../../evil.pth", b"not a model")
        archive.writestr("pretrained/junk.pth", b"not a model")
    site.body = packed.getvalue()
    with pytest.raises(ValueError, match="holds no model that this pack reads"):
        install(offer(site, "models.zip", ""), tmp_path / "models")
    assert list(tmp_path.rglob("*.pth")) == list((tmp_path / "models/stylegan/tiny").iterdir()) == []
    site.body = b"PK broken"
    with pytest.raises(ValueError, match="not a readable zip"):
        install(offer(site, "models.zip", ""), tmp_path / "models")


# ------------------------------------------------------------------------------------------------------------ command


def test_the_catalogue_is_complete():
    assert len(OFFERS) > 10
    for name, one in OFFERS.items():
        assert one.name == name and one.address.startswith("https://") and one.about and "http" in one.licence


def test_the_command_lists_asks_and_downloads(site, tmp_path, monkeypatch, capsys):
    assert main(["download"]) == 0
    text = capsys.readouterr().out
    assert "gansketching-pretrained" in text and "non-commercial" in text
    assert main(["download", "dogs"]) == 2 and '"dogs" is not in the list' in capsys.readouterr().err
    native.save_model(tiny_model(), tmp_path / "m.safetensors")
    site.body = (tmp_path / "m.safetensors").read_bytes()
    monkeypatch.setitem(download.OFFERS, "tiny", offer(site, "m.safetensors"))
    monkeypatch.setattr(download, "size_of", lambda _: 5_000_000)
    models = ["--models", str(tmp_path / "models")]
    assert main(["download", "tiny", *models]) == 2
    assert "5 MB. Licence: MIT" in (shown := capsys.readouterr()).out and "--accept-licence" in shown.err
    assert site.requests == []
    assert main(["download", "tiny", *models, "--accept-licence", "--keep"]) == 0
    assert (tmp_path / "models/stylegan/tiny.safetensors").exists() and (
        tmp_path / "models/stylegan/m.safetensors"
    ).exists()
