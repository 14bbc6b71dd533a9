from __future__ import annotations

import importlib

import pytest
from loaded_pack import tiny_model


@pytest.fixture
def getting(pack, home, monkeypatch):
    module = importlib.import_module(f"{pack.module.__name__}.nodes.get_model")
    monkeypatch.setattr(module.threading.Thread, "start", lambda self: self.run())  # at once, for the tests
    return module


@pytest.fixture
def sent(getting, monkeypatch):
    messages = []
    monkeypatch.setattr(getting.host, "send", lambda _, data: messages.append(data))
    return messages


@pytest.mark.parametrize("data", [None, [], {}, {"offer": 3}, {"offer": "https://example.org/x.pkl", "accepted": True}])
def test_only_offers_are_taken(getting, data, monkeypatch):
    monkeypatch.setattr(getting, "install", lambda *_, **__: pytest.fail("downloaded"))
    assert getting.answer(data)[0] == 400


def test_nothing_happens_without_the_licence(getting, monkeypatch):
    monkeypatch.setattr(getting, "install", lambda *_, **__: pytest.fail("downloaded"))
    assert getting.answer({"offer": "ffhq"})[0] == getting.answer({"offer": "ffhq", "accepted": "yes"})[0] == 403


def test_the_size_is_asked_of_the_server(getting, monkeypatch):
    monkeypatch.setattr(getting, "size_of", lambda address, _: 350_000_000 if "pretrained/ffhq" in address else 0)
    assert getting.answer({"offer": "ffhq", "size": True}) == (200, {"size": 350_000_000}) and not getting._running


def test_a_download_reports_and_its_model_loads(getting, sent, home, pack, monkeypatch):
    check = pack.classes["GANSketching_GetModel"].VALIDATE_INPUTS
    assert "ffhq is not downloaded yet: press Download in the node. Licence: NVIDIA" in check("ffhq")
    assert "choose one of its models in Load StyleGAN" in check("gansketching-weights")
    assert '"dogs" is not offered' in check("dogs")

    def install(offer, models, *, on_bytes, poll):
        on_bytes(5, 10)
        poll()
        on_bytes(10, 10)
        path = models / "stylegan" / "ffhq.safetensors"
        pack.core.save_model(tiny_model(pack), path)
        return [path]

    monkeypatch.setattr(getting, "install", install)
    assert getting.answer({"offer": "ffhq", "accepted": True}) == (200, {"state": "downloading"})
    assert [message["state"] for message in sent] == ["downloading", "downloading", "converting", "done"]
    assert check("ffhq") is True
    assert pack.node("GetModel").load("ffhq")[0].config.resolution == 32
    assert "ffhq.safetensors" in pack.model_files.generators()


def test_cancelling_and_failing_are_told(getting, sent, monkeypatch):
    def install(*_, on_bytes, poll):
        assert getting.answer({"offer": "ffhq", "cancel": True})[0] == 200
        poll()

    monkeypatch.setattr(getting, "install", install)
    getting.answer({"offer": "ffhq", "accepted": True})
    assert sent[-1]["state"] == "cancelled"

    def broken(*_, **__):
        raise ValueError("the server answers 404")

    monkeypatch.setattr(getting, "install", broken)
    getting.answer({"offer": "ffhq", "accepted": True})
    assert sent[-1]["state"] == "failed" and "404" in sent[-1]["text"] and getting._running == {}
