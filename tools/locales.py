"""Makes `locales/` and `nodes/web/texts.js` from one table for each language: `tools/texts/<language>.json`,
{English text: translation}.

    python tools/locales.py

The tables hold each text once, wherever it appears: in the nodes' declarations, or as t('text') in the scripts of the
editor's widgets, where "{name}" stands for a value. Two kinds of the nodes' texts are put together from parts: "#" is
the number of an input, as in "model_#", and what an option is in the presets is added to the option's description.
Run it again when a node, a script or a table has changed: it names what a table lacks, and what is no longer used.
tests/nodes/test_locales.py checks the files.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLES = ROOT / "tools" / "texts"
SCRIPTS = ROOT / "nodes" / "web"
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

from loaded_pack import loaded_pack, shown_inputs  # noqa: E402

OF_COMFYUI = {"loaders", "sampling", "training"}  # categories that ComfyUI's own translations have
NUMBER = re.compile(r"(?:(?<=_)|(?<=number )|(?<=model ))[1-9]\b")  # model_1, number 1, model 1
CALL = re.compile(
    r"""(?<![\w.$])t\((?:'([^'\\]+)'|"([^"\\]+)"|(?!text, values))"""
)  # t('Text'), but not its definition
IN_PRESETS = re.compile(r"(.+?) (Presets|All presets): ([^:]+)\.( -1: as in the preset\.)?")


class Table:
    """A language's translations, which notes what is asked for."""

    def __init__(self, language: str) -> None:
        self.texts: dict[str, str] = json.loads((TABLES / f"{language}.json").read_text("utf-8"))
        self.asked: set[str] = set()

    def translation(self, english: str) -> str:
        parts = IN_PRESETS.fullmatch(english)
        if parts:
            text, presets, values, unchanged = parts.groups()
            sentences = [self.translation(text), self.translation(f"{presets}: #.").replace("#", values)]
            sentences += [self.translation(unchanged.strip())] if unchanged else []
            return "".join(s if s.endswith("。") else f"{s} " for s in sentences).strip()
        number = NUMBER.search(english)
        key = NUMBER.sub("#", english)
        self.asked.add(key)
        return self.texts.get(key, "").replace("#", number[0] if number else "#")

    @property
    def missing(self) -> set[str]:
        return {text for text in self.asked if not self.texts.get(text)}

    @property
    def unused(self) -> set[str]:
        return self.texts.keys() - self.asked


def node_texts(node: type) -> dict:
    """A node's texts in English, in the form of ComfyUI's nodeDefs.json."""
    inputs = {name: {"name": name, "tooltip": options["tooltip"]} for name, (_, options) in shown_inputs(node).items()}
    outputs = zip(getattr(node, "RETURN_NAMES", ()), getattr(node, "OUTPUT_TOOLTIPS", ()), strict=True)
    return {
        "display_name": node.DISPLAY_NAME,
        "description": node.DESCRIPTION,
        "inputs": inputs,
        "outputs": {str(i): {"name": name, "tooltip": tooltip} for i, (name, tooltip) in enumerate(outputs)},
    }


def english(classes: Mapping[str, type]) -> dict[str, dict]:
    """File name -> what ComfyUI's editor looks up in it, in English."""
    categories = {part for node in classes.values() for part in node.CATEGORY.split("/")[1:]}
    return {
        "nodeDefs.json": {name: node_texts(node) for name, node in classes.items()},
        "main.json": {"nodeCategories": {name: name for name in sorted(categories - OF_COMFYUI)}},
    }


def texts_of_scripts() -> dict[str, str]:
    """The texts of the editor's widgets, each by itself, as in nodes/web/texts.js."""
    texts: dict[str, str] = {}
    for path in sorted(SCRIPTS.rglob("*.js")):
        for call in CALL.finditer(path.read_text("utf-8")):
            text = call[1] or call[2]
            if text is None:
                raise ValueError(f"{path.name}: write the text itself into t('...'), not an expression")
            texts[text] = text
    return texts


def languages() -> Iterator[str]:
    yield from sorted(path.stem for path in TABLES.glob("*.json"))


def translated(texts: dict, table: Table) -> dict:
    return {
        key: translated(text, table) if isinstance(text, dict) else table.translation(text)
        for key, text in texts.items()
    }


def script(of_scripts: dict[str, dict[str, str]]) -> str:
    """The content of nodes/web/texts.js. of_scripts: language -> {English text: translation}."""
    return (
        f"// Made by tools/locales.py.\nexport const TEXTS = {json.dumps(of_scripts, ensure_ascii=False, indent=2)}\n"
    )


def main() -> None:
    with loaded_pack() as pack:
        files = english(pack.classes)
    scripts = texts_of_scripts()
    of_scripts = {}
    for language in languages():
        table = Table(language)
        of_scripts[language] = translated(scripts, table)
        folder = ROOT / "locales" / language
        folder.mkdir(parents=True, exist_ok=True)
        for name, texts in files.items():
            content = json.dumps(translated(texts, table), ensure_ascii=False, indent=2)
            (folder / name).write_text(content + "\n", "utf-8")
        print(f"{language}: {len(table.missing)} missing, {len(table.unused)} not used")
        for text in sorted(table.missing):
            print(f"  missing: {text}")
        for text in sorted(table.unused):
            print(f"  not used: {text}")
    (SCRIPTS / "texts.js").write_text(script(of_scripts), "utf-8")


if __name__ == "__main__":
    main()
