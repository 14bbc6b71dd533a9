import importlib
import json
import sys
import textwrap
from argparse import ArgumentParser
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

from .pack import find_file, load_pack
from .progress import interruptible


def run(parser: ArgumentParser, argv: list[str]) -> None:
    """Execute a workflow exported from ComfyUI with Workflow > Export (API), or the workflow in a saved PNG, with this
    pack's nodes and a few of ComfyUI's own. Everything is checked before anything runs."""
    add = parser.add_argument
    add("workflow", help="JSON or PNG file, or the name of a bundled workflow")
    change = "change a value; NODE is the id, the title or the class of a node (repeatable)"
    add("--set", action="append", default=[], metavar="NODE.INPUT=VALUE", help=change)
    add("--list", action="store_true", help="list the nodes and their values, and stop")
    add("--input-dir", type=Path, help="folder of images and sketches (default: input)")
    add("--output-dir", type=Path, default=Path("output"), help="folder of results")
    add("--models-dir", type=Path, help="further models, in ComfyUI's folders (default: models)")
    args = parser.parse_args(argv)

    pack = load_pack()
    host = importlib.import_module(f"{pack.__name__}.nodes.host")
    headless = importlib.import_module(f"{pack.__name__}.nodes.headless")
    output = args.output_dir
    host.set_folders(input=args.input_dir, output=output, temp=output / "temp", models=args.models_dir)
    registry = {**headless.COMFY_NODES, **pack.NODE_CLASS_MAPPINGS}
    prompt = headless.read_workflow(find_file(args.workflow, "workflows/api", ".json"))
    for setting in args.set:
        headless.assign(prompt, registry, setting)
    if args.list:
        _print_nodes(headless, prompt)
    else:
        _execute(headless, host, prompt, registry)


def _execute(headless: ModuleType, host: ModuleType, prompt: dict, registry: dict) -> None:
    """Run the workflow with a progress bar for each node. The written files are listed even after an error."""
    report = headless.Report()
    bars = _Bars()
    try:
        with interruptible() as poll:
            host.set_hooks(progress=bars.progress, poll=poll)
            headless.run(prompt, registry, on_node=bars.start, report=report)
    except KeyboardInterrupt:
        bars.close()
        print(f'Stopped in "{bars.title}". Unfinished training is kept: the same command resumes.', file=sys.stderr)
        raise
    finally:
        bars.close()
        host.set_hooks()
        _print_report(report)


class _Bars:
    """Prints a line for each node, and a progress bar for nodes that report progress."""

    def __init__(self) -> None:
        self.title = ""
        self.bar: tqdm | None = None

    def start(self, title: str, number: int, count: int) -> None:
        self.close()
        self.title = title
        print(f"[{number + 1}/{count}] {title}", file=sys.stderr)

    def progress(self, value: int, total: int, preview: object = None) -> None:
        if self.bar is None:
            self.bar = tqdm(total=total, initial=value, desc=self.title, dynamic_ncols=True)
        self.bar.update(value - self.bar.n)

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def _print_report(report) -> None:
    for title, text in report.texts:
        print(f"{title}:\n{textwrap.indent(text.rstrip(), '  ')}")
    if report.files:
        print("Files:")
        for path in report.files:
            print(f"  {path}")


def _print_nodes(headless: ModuleType, prompt: dict) -> None:
    for key in prompt:
        print(headless.name_of(prompt, key))
        for name, value in prompt[key]["inputs"].items():
            linked = isinstance(value, list) and value
            source = f"<- node {value[0]}" if linked else f"= {json.dumps(value)}"
            print(headless.plain(f"    {name} {source}"))
