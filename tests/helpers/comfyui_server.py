"""A real ComfyUI with this pack, started for a test.

COMFYUI_PATH: its checkout; without it all such tests are skipped. COMFYUI_PYTHON: the Python that runs it, this one
by default.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

COMFYUI = os.environ.get("COMFYUI_PATH")
ROOT = Path(__file__).resolve().parents[2]


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
        deadline = time.monotonic() + 400
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
