"""Registries of built-in components and plug-ins.

Each kind of component that can be added (parsers, architectures, weightings, stages of a study, sections of the
report, ...) has one :class:`Registry`. A built-in component is a function or class decorated with the registry. A
plug-in is an installed package that declares its components as entry points in the registry's group:

    [project.entry-points."leam.fills"]
    grey = "my_package.fills:grey"
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import TypeVar, cast

from leam.errors import InputError, LeamError, PluginError, did_you_mean, first_line

T = TypeVar("T")
D = TypeVar("D")


class Registry(Mapping[str, T]):
    """The components of one kind, by name. Listing the names imports nothing; a lookup imports the module.

    Args:
        kind: The kind of component, as messages call it: ``parser``.
        group: The entry point group of plug-ins: ``leam.parsers``.
        package: The package whose modules define the built-in components. If omitted, the built-in components are
            those registered with the decorator.
        one_each: Each module of the package defines one component, named after the module, and is imported on the
            first lookup. Otherwise all modules are imported on first use.
        error: Error type raised for an unknown name.
    """

    def __init__(
        self,
        kind: str,
        group: str,
        *,
        package: str | None = None,
        one_each: bool = True,
        error: type[LeamError] = InputError,
    ) -> None:
        self.kind, self.group = kind, group
        self._package, self._one_each, self._error = package, one_each, error
        self._things: dict[str, T] = {}
        self._entry_points: dict[str, EntryPoint] | None = None

    def __call__(self, name: str) -> Callable[[D], D]:
        """Register a function or class under a name; used as a decorator.

        Raises:
            PluginError: A plug-in's component has the name of a built-in one.
        """

        def register(thing: D) -> D:
            taken = name in self._modules() or _is_builtin(self._things.get(name))
            if taken and not _is_builtin(thing):
                raise PluginError(
                    f"the {self.kind} {name} is built in; register it under another name"
                )
            self._things[name] = cast("T", thing)
            return thing

        return register

    def __getitem__(self, name: str) -> T:
        """Return the component with this name.

        Raises:
            LeamError: The name is unknown (the registry's ``error``), or a plug-in cannot be imported.
        """
        self._import_all()
        plugins = self._plugins()
        if name not in self._things and name in self._modules():
            import_module(f"{self._package}.{name}")
        if name not in self._things and name in plugins:
            # A plug-in's module may also use the decorator; what it registered takes precedence.
            self._things.setdefault(name, self._load(plugins[name]))
        if name not in self._things:
            near = did_you_mean(name, self)
            raise self._error(f"{name}: no such {self.kind}; {near}available: {', '.join(self)}")
        return self._things[name]

    def __contains__(self, name: object) -> bool:
        return name in list(iter(self))

    def __iter__(self) -> Iterator[str]:
        self._import_all()
        return iter(dict.fromkeys([*self._modules(), *self._things, *self._plugins()]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def origin(self, name: str) -> str:
        """The distribution that provides a component: ``leam``, or the plug-in's name and version."""
        point = self._plugins().get(name)
        return f"{point.dist.name} {point.dist.version}" if point and point.dist else "leam"

    def _import_all(self) -> None:
        if self._package and not self._one_each:
            for name in _modules_of(self._package):
                import_module(f"{self._package}.{name}")

    def _modules(self) -> list[str]:
        return _modules_of(self._package) if self._package and self._one_each else []

    def _plugins(self) -> dict[str, EntryPoint]:
        """The entry points of installed packages by name.

        Raises:
            PluginError: A name is already taken by a built-in component or by another package.
        """
        if self._entry_points is None:
            found: dict[str, EntryPoint] = {}
            for point in _installed(self.group):
                builtin = point.name in self._modules() or _is_builtin(self._things.get(point.name))
                if builtin or found.get(point.name, point) != point:
                    other = (
                        "built in" if builtin else f"also that of {_package_of(found[point.name])}"
                    )
                    raise PluginError(
                        f"{_package_of(point)}: the name of its {self.kind} {point.name} is {other}; "
                        "uninstall one of them"
                    )
                found[point.name] = point
            self._entry_points = found
        return self._entry_points

    def _load(self, point: EntryPoint) -> T:
        try:
            thing: T = point.load()
        except Exception as error:
            raise PluginError(
                f"{_package_of(point)}: its {self.kind} {point.name} cannot be imported ({first_line(error)}); "
                "update or uninstall that package"
            ) from error
        return thing


def _installed(group: str) -> Iterable[EntryPoint]:
    return entry_points(group=group)


def _package_of(point: EntryPoint) -> str:
    return point.dist.name if point.dist else point.value


def _is_builtin(thing: object) -> bool:
    return getattr(thing, "__module__", "").startswith("leam.")


@cache
def _modules_of(package: str) -> list[str]:
    """The names of a package's public modules, without importing them."""
    spec = find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    found = (module.name for module in pkgutil.iter_modules(folders))
    return sorted(name for name in found if not name.startswith("_"))
