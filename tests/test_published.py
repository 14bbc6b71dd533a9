"""The archive that ComfyUI's registry distributes: the repository's files without those that .comfyignore names.

The registry scans versions for what malicious packs use, and ComfyUI-Manager refuses to install what it has flagged. So
there is as little of it as possible; README.md gives the reason for the rest.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CORE = "gansketching_core/"
# What is flagged -> the only files that have it.
KNOWN = {
    "reads the environment": {CORE + "training/distributed.py"},
    "changes the environment": {CORE + "cli/main.py"},
    "adds web routes": {"nodes/host.py"},
    "uses the network": {CORE + "downloads/fetch.py"},
    "uses pickle": {CORE + "checkpoints/safe_pickle.py"},
    "runs code from text": set(),
    "starts programs": set(),
}
NETWORK = {"urllib", "requests", "httpx", "socket", "http", "ftplib", "smtplib", "websocket", "websockets"}
PICKLE = {"pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
PROGRAMS = {"subprocess", "pty", "ctypes"}

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="needs git and a clone"
)


def git(*arguments: str) -> set[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """A folder with what is published."""
    folder = tmp_path_factory.mktemp("published")
    ignored = git("ls-files", "--cached", "--others", "--ignored", "--exclude-from=.comfyignore")
    for name in sorted(git("ls-files", "--cached", "--others", "--exclude-standard") - ignored):
        if (ROOT / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target)
    return folder


def flags(source: str) -> set[str]:
    """What of KNOWN a Python file does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            packages = {name.split(".")[0] for name in names if not getattr(node, "level", 0)}
            found |= {"uses the network"} if packages & NETWORK else set()
            found |= {"uses pickle"} if packages & PICKLE else set()
            found |= {"starts programs"} if packages & PROGRAMS else set()
        if isinstance(node, ast.Attribute):
            text = ast.unparse(node)
            if text.endswith("os.environ.setdefault"):
                found.add("changes the environment")
            elif text in ("os.environ", "os.getenv"):
                found.add("reads the environment")
            elif text in ("os.system", "os.popen") or text.startswith(("os.exec", "os.spawn")):
                found.add("starts programs")
            elif ".routes." in text:
                found.add("adds web routes")
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("exec", "eval", "compile")
        ):
            found.add("runs code from text")
    if "changes the environment" in found and source.count("os.environ") == source.count("os.environ.setdefault"):
        found.discard("reads the environment")
    return found


def test_only_known_files_have_what_the_registry_flags(archive):
    found = {kind: set() for kind in KNOWN}
    for path in archive.rglob("*.py"):
        for kind in flags(path.read_text("utf-8")):
            found[kind].add(path.relative_to(archive).as_posix())
    assert found == KNOWN


def test_the_scan_finds_what_it_looks_for():
    assert flags("import os\nos.environ['X']") == {"reads the environment"}
    assert flags("import os\nos.environ.setdefault('X', '1')") == {"changes the environment"}
    assert flags("from urllib import request") == {"uses the network"} and flags("import pickle") == {"uses pickle"}
    assert flags("exec('x')\neval('y')") == {"runs code from text"} and flags("model.eval()") == set()
    assert flags("import subprocess") == {"starts programs"}
    assert flags("@server.PromptServer.instance.routes.post('/x')\ndef f(): pass") == {"adds web routes"}


def test_scripts_in_the_browser_run_no_text_as_code(archive):
    scripts = list(archive.glob("nodes/web/**/*.js"))
    assert len(scripts) > 4
    for path in scripts:
        assert not re.search(r"\beval\(|new Function\(|document\.write\(", path.read_text("utf-8")), path.name


def test_the_archive_has_what_users_need_and_no_more(archive):
    names = {path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file()}
    needed = {"__init__.py", "pyproject.toml", "requirements.txt", "README.md", "LICENSE", "weights/fruit.safetensors"}
    assert needed <= names
    assert {name.split("/")[0] for name in names}.isdisjoint({"tests", "tools", ".github", ".ci"})
    assert sum(path.stat().st_size for path in archive.rglob("*") if path.is_file()) < 100 * 2**20


def test_the_archive_works_on_its_own(archive):
    """As ComfyUI loads it, without the rest of the repository, without ComfyUI, without a network."""
    load = (
        "import importlib.util, sys; root = sys.argv[1];"
        "sys.addaudithook(lambda event, _: sys.exit(event) if event.startswith('socket.') else None);"
        "find = importlib.util.spec_from_file_location;"
        "spec = find('pack', f'{root}/__init__.py', submodule_search_locations=[root]);"
        "sys.modules['pack'] = module = importlib.util.module_from_spec(spec); spec.loader.exec_module(module);"
        "model = module.NODE_CLASS_MAPPINGS['GANSketching_LoadStyleGAN']().load('fruit.safetensors [bundled]')[0];"
        "print(len(module.NODE_CLASS_MAPPINGS), model.config.resolution)"
    )
    done = subprocess.run(
        [sys.executable, "-c", load, archive], cwd=archive, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    count, resolution = map(int, done.stdout.split())
    assert count > 30 and resolution == 64


def test_no_version_is_pinned():
    for requirement in (ROOT / "requirements.txt").read_text("utf-8").splitlines():
        assert requirement.startswith("#") or re.fullmatch(r"[\w-]+>=[\d.]+", requirement), requirement


@pytest.mark.skipif(shutil.which("comfy") is None, reason="comfy-cli is not installed")
def test_comfy_node_validate_is_clean(archive):
    command = ["comfy", "--skip-prompt", "--no-enable-telemetry", "node", "validate"]
    done = subprocess.run(command, cwd=archive, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "warning" not in done.stdout.lower(), done.stdout + done.stderr


def test_the_registry_s_facts_are_complete():
    project, comfy = PROJECT["project"], PROJECT["tool"]["comfy"]
    assert re.fullmatch(r"\d+\.\d+\.\d+", project["version"]), "a semantic version"
    assert project["urls"]["Repository"].startswith("https://github.com/")
    assert comfy["PublisherId"] and comfy["DisplayName"] == "GANSketching" and comfy["requires-comfyui"]
    for key in ("Icon", "Banner"):
        assert comfy[key].startswith(project["urls"]["Repository"].replace("github.com", "raw.githubusercontent.com"))
    with Image.open(ROOT / "docs/icon.png") as icon, Image.open(ROOT / "docs/banner.png") as banner:
        assert max(icon.size) <= 400 and banner.width * 9 == banner.height * 21
