"""List every string that a user or a maintainer reads, for review.

    python scripts/list_strings.py src/leam/cli --kind error

Each line is ``file:line: kind: text``. The kinds:

    help       help texts of commands and options
    error      messages of exceptions
    output     lines, notes, log records and progress printed by the command line
    docstring  first lines of docstrings
    template   text of the report's templates
    text       other strings with spaces between words, such as labels of charts
"""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("help", "error", "output", "docstring", "template", "text")
HELP_KEYWORDS = {"help", "show_default", "metavar", "epilog", "short_help"}
OUTPUT = {
    "say", "note", "complain", "show_table", "report", "progress", "tell", "show", "log",
    "debug", "info", "warning", "error", "exception", "warn", "print",
}  # fmt: skip
CALLS: dict[str, Callable[[str], bool]] = {
    "help": lambda name: name == "Entry",
    "error": lambda name: name == "fail" or name.endswith("Error"),
    "output": OUTPUT.__contains__,
}
TEMPLATES = {".html", ".jinja", ".j2"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
SENTENCE = re.compile(r"\w[\w,;:.)]* +[\w({`]")
TAG = re.compile(r"<style.*?</style>|<script.*?</script>|<[^>]*>|\{[%#].*?[%#]\}", re.DOTALL)


class Found(NamedTuple):
    """A string and where it is."""

    path: Path
    line: int
    kind: str
    text: str


class Strings(ast.NodeVisitor):
    """Collects the strings of a module, each once, by what they are used for."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.found: list[Found] = []
        self.kind = "text"

    def visit(self, node: ast.AST) -> None:
        """Visit a node, with the kind of string that it makes of those inside."""
        before, self.kind = self.kind, self._kind_inside(node)
        if isinstance(node, DOCUMENTED) and (documentation := ast.get_docstring(node)):
            line = getattr(node.body[0], "lineno", 1)
            self._add(line, "docstring", documentation.partition("\n\n")[0])
        if isinstance(node, ast.JoinedStr) or (
            isinstance(node, ast.Constant) and isinstance(node.value, str)
        ):
            self._add_string(node)
        elif not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            self.generic_visit(node)
        self.kind = before

    def _kind_inside(self, node: ast.AST) -> str:
        if isinstance(node, ast.Raise):
            return "error"
        if isinstance(node, ast.keyword) and node.arg in HELP_KEYWORDS:
            return "help"
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).endswith("_HELP"):
            return "help"
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            return next((kind for kind, fits in CALLS.items() if fits(name)), self.kind)
        return self.kind

    def _add_string(self, node: ast.Constant | ast.JoinedStr) -> None:
        text = text_of(node)
        if self.kind != "text" or SENTENCE.search(text):
            self._add(node.lineno, self.kind, text)

    def _add(self, line: int, kind: str, text: str) -> None:
        text = " ".join(text.split())
        if re.search(r"[^\W\d_]", text):
            self.found.append(Found(self.path, line, kind, text))


def text_of(node: ast.Constant | ast.JoinedStr) -> str:
    """The text of a string, with the expressions of an f-string in braces."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    return "".join(
        str(part.value) if isinstance(part, ast.Constant) else f"{{{ast.unparse(part.value)}}}"
        for part in node.values
        if isinstance(part, ast.Constant | ast.FormattedValue)
    )


def strings_of(path: Path) -> Iterator[Found]:
    """The strings of a Python module or a template, in order."""
    source = path.read_text(encoding="utf-8")
    if path.suffix in TEMPLATES:
        plain = TAG.sub(lambda match: "\n" * match[0].count("\n"), source)
        for number, line in enumerate(plain.splitlines(), 1):
            if re.search(r"[^\W\d_]", re.sub(r"\{\{.*?\}\}", "", line)):
                yield Found(path, number, "template", " ".join(line.split()))
        return
    strings = Strings(path)
    strings.visit(ast.parse(source))
    yield from sorted(strings.found, key=lambda found: found.line)


def files_in(paths: list[Path]) -> Iterator[Path]:
    """The Python modules and templates among files and in folders."""
    for path in paths:
        inside = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (one for one in inside if one.suffix in {".py", *TEMPLATES})


def main() -> None:
    """Print the strings."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("paths", nargs="*", type=Path, default=[ROOT / "src" / "leam"])
    parser.add_argument(
        "--kind", action="append", choices=KINDS, help="this kind only; can be repeated"
    )
    options = parser.parse_args()
    for path in files_in(options.paths):
        for found in strings_of(path):
            if not options.kind or found.kind in options.kind:
                print(f"{path}:{found.line}: {found.kind}: {found.text}")


if __name__ == "__main__":
    main()
