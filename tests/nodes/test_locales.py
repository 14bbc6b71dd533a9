"""The pack in other languages: locales/<language>/, which ComfyUI's editor reads, nodes/web/texts.js, help pages."""

from __future__ import annotations

import importlib.util
import json
import re
from itertools import pairwise

import pytest
from loaded_pack import ROOT, shown_inputs

LANGUAGES = sorted(path.name for path in (ROOT / "locales").iterdir())
KEPT = r"\[(?:output|bundled|datasets)\]|\.(?:pth?|npz|safetensors)\b|\b(?:models|output)/[\w/]+|\b\d[\d,.]*\d\b"


@pytest.fixture(scope="module")
def tool():
    """tools/locales.py, which makes the files."""
    spec = importlib.util.spec_from_file_location("locales_tool", ROOT / "tools/locales.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


HELP = sorted(
    (ROOT / "nodes/web/docs").glob("*/*.md")
)  # <node>/<language>.md; ComfyUI shows <node>.md in other languages
MARKS = {"zh": {"高级": "advanced", "可选": "optional"}, "ja": {"詳細": "advanced", "任意": "optional"}}
OF_COMFYUI = {"Preview Image": {"zh": "预览图像", "ja": "画像プレビュー"}, "R": {"zh": "R", "ja": "R"}}


def read(language: str, name: str) -> dict:
    return json.loads((ROOT / "locales" / language / name).read_text("utf-8"))


def leaves(texts: dict, path: str = "") -> dict[str, str]:
    """Every text of nested dictionaries, by its path."""
    found = {}
    for key, value in texts.items():
        found |= leaves(value, f"{path}/{key}") if isinstance(value, dict) else {f"{path}/{key}": value}
    return found


def expected(classes: dict[str, type]) -> dict[str, str]:
    """What the editor looks up in nodeDefs.json, by its path, from the nodes' declarations."""
    texts = {}
    for name, node in classes.items():
        texts |= {f"/{name}/display_name": node.DISPLAY_NAME, f"/{name}/description": node.DESCRIPTION}
        sockets = [("inputs", key, key, options["tooltip"]) for key, (_, options) in shown_inputs(node).items()]
        for index, (output, tooltip) in enumerate(
            zip(getattr(node, "RETURN_NAMES", ()), getattr(node, "OUTPUT_TOOLTIPS", ()), strict=True)
        ):
            sockets.append(("outputs", index, output, tooltip))
        for kind, key, shown, tooltip in sockets:
            texts |= {f"/{name}/{kind}/{key}/name": shown, f"/{name}/{kind}/{key}/tooltip": tooltip}
    return texts


def test_languages_that_are_there():
    assert set(LANGUAGES) >= {"zh", "zh-TW", "ja", "ko", "fr", "de", "es", "ru"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated_and_none_is_stale(pack, home, language):
    english, texts = expected(pack.classes), leaves(read(language, "nodeDefs.json"))
    assert len(english) > 600 and texts.keys() == english.keys()
    assert [path for path, text in texts.items() if not text.strip()] == []
    sentences = [path for path, text in english.items() if path.endswith(("/tooltip", "/description"))]
    assert [path for path in sentences if texts[path] == english[path]] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_categories_are_translated(pack, language):
    parts = {part for node in pack.classes.values() for part in node.CATEGORY.split("/")[1:]}
    categories = read(language, "main.json")["nodeCategories"]
    assert parts - categories.keys() == {"loaders", "sampling", "training"}  # ComfyUI translates these itself
    assert categories.keys() <= parts and all(categories.values())


@pytest.mark.parametrize("language", LANGUAGES)
def test_numbers_and_folders_stay_as_they_are(pack, home, language):
    """A changed default in a preset, a limit or a folder's name would make a translation wrong."""
    texts = leaves(read(language, "nodeDefs.json"))
    for path, text in expected(pack.classes).items():
        kept = {re.sub(r"\D", "", word) if word[0].isdigit() else word for word in re.findall(KEPT, text, re.ASCII)}
        digits = re.sub(r"(?<=\d)[.,\s\u202f\u00a0](?=\d{3}\b)|(?<=\d)[.,](?=\d)", "", texts[path])
        assert [word for word in kept if word not in (digits if word.isdigit() else texts[path])] == [], path


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_call_nodes_by_the_names_that_are_shown(pack, home, language):
    english, texts = expected(pack.classes), leaves(read(language, "nodeDefs.json"))
    names = {english[path]: texts[path] for path in english if path.endswith("/display_name") and " " in english[path]}
    mentions = [(path, name) for path, text in english.items() if path not in names for name in names if name in text]
    assert len(mentions) > 50
    assert [mention for mention in mentions if names[mention[1]] not in texts[mention[0]]] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_editor_can_read_the_texts(language):
    """Its translations have a syntax, in which these characters mean something."""
    for name in ("nodeDefs.json", "main.json"):
        assert [text for text in leaves(read(language, name)).values() if set(text) & set("{}@|")] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_node_names_differ(language):
    names = [node["display_name"] for node in read(language, "nodeDefs.json").values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_files_are_what_the_tool_makes(pack, home, tool, language):
    table = tool.Table(language)
    for name, texts in tool.english(pack.classes).items():
        assert read(language, name) == tool.translated(texts, table), "run python tools/locales.py"
    tool.translated(tool.texts_of_scripts(), table)
    assert table.missing == table.unused == set()


def scripts_texts() -> dict[str, dict[str, str]]:
    """language -> {English text: translation}, of the scripts in the browser."""
    return json.loads((ROOT / "nodes/web/texts.js").read_text("utf-8").partition("TEXTS = ")[2])


def test_every_text_of_the_scripts_is_translated(tool):
    texts = tool.texts_of_scripts()
    assert {"Stop and keep", "Pen (P)", "This drawing can't be shown; drawing replaces it."} < texts.keys()
    tables = {language: tool.translated(texts, tool.Table(language)) for language in LANGUAGES}
    assert scripts_texts() == tables, "run python tools/locales.py"
    for language, table in tables.items():
        assert [text for text, translation in table.items() if not translation.strip()] == [], language


@pytest.mark.parametrize("language", LANGUAGES)
def test_values_in_texts_of_the_scripts_are_kept(language):
    for text, translation in scripts_texts()[language].items():
        assert sorted(re.findall(r"{\w+}", translation)) == sorted(re.findall(r"{\w+}", text)), text
        assert not set(translation) & set('"<>&'), "some of them are written into HTML"


def test_the_tool_finds_the_texts_of_a_script(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(tool, "SCRIPTS", tmp_path)
    script = tmp_path / "a.js"
    script.write_text("t('One'); x.alert('no'); alert('no')\nt(\"It's two, {n}\", { n: t('Three') })", "utf-8")
    assert list(tool.texts_of_scripts()) == ["One", "It's two, {n}", "Three"]
    for expression in ("t(name)", "t(`Step ${k}`)", "t('Don\\'t')"):
        script.write_text(expression, "utf-8")
        with pytest.raises(ValueError, match="write the text itself"):
            tool.texts_of_scripts()


def test_the_tool_puts_texts_together(tool):
    table = tool.Table.__new__(tool.Table)
    table.asked, table.texts = (
        set(),
        {
            "Steps.": "Schritte.",
            "Presets: #.": "Voreinstellungen: #.",
            "-1: as in the preset.": "-1: wie dort.",
            "model_#": "Modell_#",
            "Old.": "Alt.",
        },
    )
    text = "Steps. Presets: fast 0.5, paper 75000. -1: as in the preset."
    assert table.translation(text) == "Schritte. Voreinstellungen: fast 0.5, paper 75000. -1: wie dort."
    assert table.translation("model_3") == "Modell_3" and table.translation("New.") == ""
    assert table.missing == {"New."} and table.unused == {"Old."}


def own_and_english_page(path) -> tuple[str, str]:
    return path.read_text("utf-8"), path.parent.with_suffix(".md").read_text("utf-8")


def bold(text: str) -> list[str]:
    return re.findall(r"\*\*(.+?)\*\*", text)


def shape(page: str) -> list[str]:
    """Headings, items and rows by their marks, pictures and code by their text."""
    lines = [re.match(r"\s*(?:#+|-|\||!)? ?", line)[0] for line in page.splitlines() if re.match(r"\s*[#|!-]", line)]
    return lines + re.findall(r"\]\([^)]+\)", page) + sorted(re.findall(r"`[^`]+`", page))


def test_the_main_nodes_have_help_in_chinese_and_japanese():
    main = ("FineTuneMapping", "LoadStyleGAN", "PrepareSketch", "ProjectImage", "Sample", "SketchPad")
    pages = [f"{path.parent.name}/{path.name}" for path in HELP]
    assert pages == [f"GANSketching_{name}/{language}.md" for name in main for language in ("ja", "zh")]


@pytest.mark.parametrize("path", HELP, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_help_page_says_what_the_english_one_says(pack, home, path):
    """The same headings, lists, tables and pictures, and the names that the editor shows in its language."""
    page, english = own_and_english_page(path)
    assert shape(page) == shape(english)
    node, language = path.parent.name, path.stem
    texts = read(language, "nodeDefs.json")
    assert page.startswith(f"# {texts[node]['display_name']}\n")
    names = scripts_texts()[language] | {text: own[language] for text, own in OF_COMFYUI.items()}
    for other in [*texts.keys() - {node}, node]:
        shown = expected({other: pack.classes[other]})
        names |= {shown[name]: text for name, text in leaves({other: texts[other]}).items() if name.endswith("name")}
    assert sorted(bold(page)) == sorted(names[name] for name in bold(english))
    item = re.compile(r"^- (\*\*.+?\*\*)(?: ?[(\uff08](\w+)[)\uff09])?[:\uff1a]", re.MULTILINE)
    own = [(bold(name), MARKS[language].get(mark, mark)) for name, mark in item.findall(page)]
    assert own == [([names[n] for n in bold(name)], mark) for name, mark in item.findall(english)]


@pytest.mark.parametrize("path", HELP, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_bold_words_of_a_help_page_are_shown_bold(path):
    """Markdown takes ** after a punctuation mark as an end only if no letter follows, and before one likewise."""
    page = path.read_text("utf-8")
    for line in page.splitlines():
        outside, inside = line.split("**")[::2], line.split("**")[1::2]
        assert len(outside) == len(inside) + 1
        for before, text, after in zip(outside, inside, outside[1:], strict=False):
            assert re.match(r"\w", text) or not re.search(r"\w$", before), line
            assert re.search(r"\w$", text) or not re.match(r"\w", after), line
    assert all(len(line) < 30 or not re.match(r"\w", following) for line, following in pairwise(page.splitlines())), (
        "a line break within a paragraph is shown as a space"
    )
