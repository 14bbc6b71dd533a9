"""A new user's way through `draw_your_own_sketch` in a real ComfyUI, as screenshots with the time of each step.

    COMFYUI_PATH=... COMFYUI_PYTHON=... python tools/screenshots.py FOLDER [--frontend STATIC] [--graph]

From the browser of templates to samples: in App Mode where the frontend has it, or with --graph in the graph; then
FOLDER also gets the three pictures of the README. COMFYUI_PATH and COMFYUI_PYTHON are as in
tests/helpers/comfyui_server.py; STATIC is the folder of another frontend.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "tests/helpers"), str(ROOT)]

from browser_page import BROWSER, playwright  # noqa: E402
from comfyui_editor import PACK, Editor, Pad, start_server  # noqa: E402

TEMPLATE = "draw_your_own_sketch"
SIZE = {"width": 1426, "height": 783}
VIEW = "() => { Object.assign(app.canvas.ds, { scale: 0.72, offset: [90, 200] }); app.canvas.setDirty(true, true) }"
PEAR = [(512, 240), (448, 264), (424, 360), (400, 440), (320, 540), (280, 660), (328, 780), (440, 840), (512, 828)]
PEAR += [(584, 840), (696, 780), (744, 660), (704, 540), (624, 440), (600, 360), (576, 264), (512, 240)]
PARTS = {  # picture of the README: frame, and the part of it that is shown
    "1_drawing": ("3_drawn", (105, 188, 605, 762)),
    "2_training": ("5_training", (395, 188, 895, 762)),
    "3_samples": ("6_samples", (905, 148, 1405, 722)),
}
STALK = [(512, 240), (520, 192), (544, 152)]


class Film:
    """Screenshots of a page, numbered, and how long it took to come to each."""

    def __init__(self, page, folder: Path):
        self._page, self._folder = page, folder
        self._count, self._since = 0, time.perf_counter()

    def frame(self, name: str) -> None:
        self._count += 1
        print(f"{self._count} {name}: {time.perf_counter() - self._since:.1f} s after the one before", flush=True)
        self._page.screenshot(path=str(self._folder / f"{self._count}_{name}.png"))
        self._since = time.perf_counter()


def take(editor: Editor, film: Film, graph: bool) -> None:
    page = editor.page
    page.evaluate("() => app.extensionManager.command.execute('Comfy.BrowseTemplates')")
    page.get_by_text(PACK, exact=True).first.click()
    card = page.get_by_test_id(f"template-workflow-{TEMPLATE}")
    card.locator("img").first.wait_for()
    page.wait_for_timeout(1000)
    film.frame("templates")
    card.click()
    page.locator(".surface").wait_for()
    page.wait_for_timeout(1500)
    editor.dismiss_tour()
    is_app = page.locator("#linearCenterPanel").count() > 0
    if graph:
        if is_app:
            page.evaluate("() => app.extensionManager.command.execute('Comfy.ToggleLinear')")
        page.evaluate(VIEW)
        page.wait_for_timeout(1500)
    film.frame("opened")
    pad = Pad(page)
    pad.click("New drawing")
    pad.draw(*PEAR)
    pad.draw(*STALK)
    page.wait_for_timeout(500)
    film.frame("drawn")
    editor.watch()
    page.get_by_role("button", name="Run", exact=True).first.click()
    editor.wait_for("event.type === 'gansketching.training' && event.step >= 3 && event.picture")
    page.wait_for_timeout(500)
    film.frame("training_begins")
    editor.wait_for("event.type === 'gansketching.training' && event.step >= 90 && event.picture", 600)
    page.wait_for_timeout(500)
    film.frame("training")
    editor.wait_for("event.type.startsWith('execution_')", 900)
    page.wait_for_timeout(2000)
    film.frame("samples")
    end = page.evaluate("seen.find((event) => event.type.startsWith('execution_'))")
    outputs = editor.server.finished(end["prompt_id"])["outputs"].values()
    print(end["type"], *(text for output in outputs for text in output.get("text", [])), sep="\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the screenshots go")
    parser.add_argument("--frontend", help="static folder of another frontend than ComfyUI's own")
    parser.add_argument("--graph", action="store_true", help="the graph, not the app")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, playwright.sync_playwright() as started:
        server = start_server(Path(folder), args.frontend)
        server.label = "film"
        try:
            page = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"]).new_page(viewport=SIZE)
            editor = Editor(page, server, vue=False)
            take(editor, Film(page, args.folder), args.graph)
            for name, (frame, part) in PARTS.items() if args.graph else ():
                with Image.open(args.folder / f"{frame}.png") as picture:
                    picture.convert("RGB").crop(part).save(args.folder / f"{name}.jpg", quality=88)
        finally:
            server.stop()


if __name__ == "__main__":
    main()
