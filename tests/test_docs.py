"""Documents that are generated say what the code does; commands and code in documents run; the site builds."""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest
import torch
from typer.main import get_command

import leam
from leam.cli import main
from leam.cli.app import app
from leam.cli.commands import LazyGroup
from leam.plugins import Registry
from leam.study.plan import Settings
from pages import ROOT, Block, Network, blocks, pages, write_world

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SITE = ROOT / "build/docs"
# Commands that are checked, but not run here.
NOT_RUN = {
    "--engine ray": "needs a cluster",
    "--preset paper": "takes a minute; tests/study tests each of its metrics",
    "--models all --cards my-cards/": "as the command below it, with another recognizer",
    "magface-100": "needs a checkpoint of a large network",
    "--against": "needs the weights of sface and thousands of impostor pairs",
    "lfw/people --out run --people 1000": "needs LFW and eleven recognizers, and takes an hour",
    "--install-completion": "changes the files of the shell",
    "leam demo": "make package runs it",
}
# Shell commands of other programs.
OTHER_PROGRAMS = {
    "export": "sets a variable of the shell",
    "ray": "starts a cluster",
}
# Blocks of Python that need what only a reader has.
NOT_EXECUTED = {
    "devices.md": "needs a GPU",
    "your-checkpoint.md": "needs the reader's checkpoint and network",
    "@PARSERS": "needs the reader's network",
}


def _script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    "name",
    ["outputs.md", *(f"{of}.schema.json" for of in ("summary", "audit", "compare", "protect"))],
)
def test_a_generated_document_is_current(name):
    text = _script("generate_docs").documents()[name]
    assert (ROOT / "docs" / name).read_text(encoding="utf-8") == text, (
        "run `python scripts/generate_docs.py`"
    )


def test_every_figure_and_column_is_described():
    rows = [line.split(" | ") for line in (ROOT / "docs/outputs.md").read_text().splitlines()]
    meanings = [row[-1].strip(" |") for row in rows if row[0].startswith("| `")]
    assert len(meanings) > 150
    assert all(meanings)


def test_the_api_page_has_every_public_name():
    text = (ROOT / "docs/reference/api.md").read_text()
    described = re.findall(r"^\.\. auto\w+:: (?:leam\.explain\.)?(\w+)$", text, re.MULTILINE)
    assert sorted([*described, "__version__"]) == sorted(leam.__all__)


def test_notebooks_are_committed_without_outputs():
    assert not list(ROOT.glob("docs/**/*.ipynb"))
    tutorials = [page for page in pages() if page.startswith("docs/tutorials/")]
    assert len(tutorials) == 8
    for page in tutorials:
        assert ("file_format: mystnb" in (ROOT / page).read_text()) != page.endswith("index.md")


def test_every_block_is_in_a_language_that_is_checked():
    known = {"sh", "python", "toml", "text"}
    directives = re.compile(r"\{(code-cell|toctree|eval-rst|doctest|include|leam-commands)\}")
    for block in blocks():
        assert block.language in known or directives.match(block.language), block


@pytest.mark.parametrize("block", blocks("sh"), ids=str)
def test_a_command_is_accepted(block):
    for words in block.commands:
        _check(words, block)


def _check(words: list[str], block: Block) -> None:
    program, *arguments = words
    if program == "leam":
        _parse(arguments)
    elif program in {"python", "pytest"}:
        script = ROOT / arguments[0]
        assert script.exists(), block
        if script.is_file():
            # Benchmarks share options.
            sources = [script, ROOT / "benchmarks/recording.py"]
            text = "".join(source.read_text() for source in sources)
            for option in arguments:
                assert not option.startswith("--") or f'"{option}"' in text, (str(block), option)
    elif program == "make":
        assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), block
    elif program == "pip":
        extras = re.findall(r"\[([\w,]+)\]", " ".join(arguments))
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        wanted = {name for names in extras for name in names.split(",")}
        assert wanted <= set(project["optional-dependencies"]), block
    else:
        assert program in OTHER_PROGRAMS, (str(block), program)


def _parse(arguments: list[str]) -> None:
    """Fail for an unknown command or option, or a wrong value."""
    command = get_command(app)
    while isinstance(command, LazyGroup) and arguments and arguments[0] in command.table:
        command, arguments = command.load(arguments[0]), arguments[1:]
    if not {"--install-completion"} & set(arguments):
        command.make_context("leam", list(arguments))


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(folder)
    return folder


@pytest.fixture
def here(world, tmp_path, monkeypatch) -> Iterator[Path]:
    """A copy of the world as the working directory, without recognizers of this machine."""
    folder = tmp_path / "world"
    shutil.copytree(world, folder, symlinks=True)
    monkeypatch.chdir(folder)
    monkeypatch.delenv("LEAM_ASSETS", raising=False)
    monkeypatch.setenv("LEAM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LEAM_OFFLINE", "1")
    monkeypatch.syspath_prepend(folder)
    yield folder
    for module in ("my_api", "my_module"):
        sys.modules.pop(module, None)


def _by_page(language: str) -> dict[str, list[Block]]:
    return {
        page: list(group) for page, group in groupby(blocks(language), lambda block: block.page)
    }


@pytest.mark.slow
@pytest.mark.parametrize("page", _by_page("sh"))
def test_commands_run(page, here, monkeypatch):
    for block in blocks("toml"):
        if block.page == page and 'architecture = "black_box"' in block.text:
            (here / "my_api.toml").write_text(block.text)
    for block in _by_page("sh")[page]:
        for words in block.commands:
            line = " ".join(words)
            if words[0] == "leam" and not any(part in line for part in NOT_RUN):
                assert _run(words, monkeypatch) == 0, (str(block), line)


def _run(words: list[str], monkeypatch) -> int:
    """Run a command; the folder that it writes is removed before."""
    if "--out" in words and words[1] != "redact":
        shutil.rmtree(words[words.index("--out") + 1], ignore_errors=True)
    monkeypatch.setattr(sys, "argv", words)
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def test_commands_that_are_not_run_exist():
    lines = [" ".join(words) for block in blocks("sh") for words in block.commands]
    for part, reason in NOT_RUN.items():
        assert reason
        assert any(part in line for line in lines), part


@pytest.mark.slow
@pytest.mark.parametrize("page", _by_page("python"))
def test_python_runs(page, here):
    """The blocks of a page run one after another, with the objects that the page speaks of."""
    network = Network().eval()
    card = leam.Card(name="mine")
    recognizer = leam.Recognizer(network, card)
    face, other = (leam.find_face(f"{name}.jpg", leam.load_detector()) for name in ("ada", "bob"))
    (here / "my_module.py").write_text("")
    names: dict[str, object] = {
        "leam": leam, "my_network": network, "module": network, "card": card, "face": face, "other": other,
        "recognizer": recognizer, "explainer": leam.Explainer(recognizer), "batch": torch.rand(2, 3, 112, 112),
        "my_service": lambda chips: chips[:, ::16, ::16].reshape(len(chips), -1) - 127.0,
    }  # fmt: skip
    for block in _by_page("python")[page]:
        tree = ast.parse(block.text)  # also of those that are not executed
        if any(part in f"{block.page}\n{block.text}" for part in NOT_EXECUTED):
            continue
        where = f"{ROOT / block.page}:{block.line}"
        exec(compile(tree, where, "exec"), names)


@pytest.mark.parametrize("block", blocks("toml"), ids=str)
def test_toml_is_valid(block):
    values = tomllib.loads(block.text)
    if "project" in values:
        groups = {
            thing.group
            for module in list(sys.modules.values())
            if getattr(module, "__name__", "").startswith("leam.")
            for thing in vars(module).values()
            if isinstance(thing, Registry)
        }
        assert set(values["project"]["entry-points"]) <= groups
    elif "base" in values:
        Settings(**{key: value for key, value in values.items() if key != "base"})
    else:
        if "…" in values.get("sha256", ""):
            values["sha256"] = "0" * 64
        leam.Card(**{"name": "part", **values})


@pytest.mark.slow
def test_the_site_builds_and_its_examples_hold():
    """Warnings are errors: broken links, unknown names, notebooks that fail."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for builder, out in {"html": SITE, "doctest": SITE.with_name("doctest")}.items():
        made = subprocess.run(
            [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", "--nitpicky",
             "--doctree-dir", "build/doctrees", "--builder", builder, "docs", str(out)],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert made.returncode == 0, made.stdout[-2000:] + made.stderr[-4000:]
    loaded = re.compile(r'(?:<script[^>]+src|<link[^>]+rel="stylesheet"[^>]+href)="https?:')
    for page in SITE.rglob("*.html"):
        assert not loaded.search(page.read_text(encoding="utf-8")), page
