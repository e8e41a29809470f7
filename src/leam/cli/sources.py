"""Constants of modules and names in registries, read from source code: help does not import torch for them."""

from __future__ import annotations

import ast
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

_ROOT = Path(__file__).parents[2]


def stated(module: str, name: str) -> str | None:
    """The value of a string, or the names in a registry, dictionary or tuple, separated by commas, as stated.

    Args:
        module: A module of this package.
        name: A name that is assigned or imported in it.

    Returns:
        The text; None if the source does not tell.
    """
    for node in _tree(module).body:
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if any((alias.asname or alias.name) == name for alias in node.names):
                return stated(node.module, name)
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == name for target in targets):
                return _text(module, name, node.value)
    return None


def _text(module: str, name: str, value: ast.expr) -> str | None:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return value.value
    if isinstance(value, ast.Dict):
        return ", ".join(str(ast.literal_eval(key)) for key in value.keys if key)
    if isinstance(value, ast.Tuple) and all(isinstance(one, ast.Constant) for one in value.elts):
        return ", ".join(str(ast.literal_eval(one)) for one in value.elts)
    if not isinstance(value, ast.Call) or ast.unparse(value.func) != "Registry":
        return None
    _, group = (ast.literal_eval(argument) for argument in value.args)
    settings = {word.arg: word.value for word in value.keywords}
    folder = ast.literal_eval(settings["package"]) if "package" in settings else None
    modules = [f"{folder}.{one}" for one in _modules(folder)] if folder else [module]
    if folder and "one_each" not in settings:
        names = [one.rpartition(".")[2] for one in modules]
    else:
        decorators = {name, *_registering(module, name)}
        names = [found for one in modules for found in _registered(one, decorators)]
    return ", ".join(dict.fromkeys([*names, *(point.name for point in entry_points(group=group))]))


def _registering(module: str, name: str) -> Iterator[str]:
    """The functions of a registry's module that register what they are given."""
    for node in _tree(module).body:
        if isinstance(node, ast.FunctionDef) and any(_calls(node, {name})):
            yield node.name


def _registered(module: str, decorators: set[str]) -> Iterator[str]:
    """The names under which a module registers something."""
    for call in _calls(_tree(module), decorators):
        first = call.args[0]
        if isinstance(first, ast.Constant):
            yield str(first.value)
        elif isinstance(first, ast.Name) and (found := stated(module, first.id)):
            yield found


def _calls(tree: ast.AST, names: set[str]) -> Iterator[ast.Call]:
    """The calls of functions with these names that have an argument, in the order of the source."""
    found = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id in names and node.args
    ]
    yield from sorted(found, key=lambda node: (node.lineno, node.col_offset))


def _modules(package: str) -> list[str]:
    folders = [str(_path(package).parent)]
    return sorted(m.name for m in pkgutil.iter_modules(folders) if not m.name.startswith("_"))


def _path(module: str) -> Path:
    # Looking for a module with find_spec would import the packages that it is in.
    path = _ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_path(module).read_bytes())
