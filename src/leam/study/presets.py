"""Presets: named settings, and TOML files that state the settings of a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from leam.errors import InputError, first_line
from leam.explain.aggregates import AGGREGATES
from leam.explain.backends import BACKENDS
from leam.explain.explainer import DEFAULT_WEIGHTING
from leam.explain.methods import METHODS
from leam.explain.person import PERSON_MAPS
from leam.explain.weightings import WEIGHTINGS
from leam.faces.detectors import DETECTORS
from leam.files import read_toml
from leam.metrics.controls import CONTROLS
from leam.metrics.fills import FILLS
from leam.parsers import PARSERS
from leam.plugins import Registry
from leam.recognizers.card import explain_validation
from leam.study.plan import PRESETS, Settings
from leam.version import __version__

_BASE = "base"
_COMPONENTS: dict[str, Registry[Any]] = {
    "method": METHODS,
    "weighting": WEIGHTINGS,
    "aggregate": AGGREGATES,
    "backend": BACKENDS,
    "fill": FILLS,
    "controls": CONTROLS,
    "curve_controls": CONTROLS,
    "fills": FILLS,
    "parser": PARSERS,
    "second_parser": PARSERS,
    "detector": DETECTORS,
    "person_maps": PERSON_MAPS,
}


def read_preset(name: str) -> Settings:
    """The settings of a preset.

    Args:
        name: A name in :data:`leam.study.plan.PRESETS`, or the path of a TOML file. The file's keys are fields of
            :class:`leam.study.plan.Settings`. The optional key ``base`` names the preset that sets the other fields;
            without it, they have their defaults.

    Raises:
        InputError: There is no such preset, or the file cannot be read or has an unknown key or an invalid value.
    """
    if not name.endswith(".toml"):
        return Settings.model_validate(_named(name, f"--preset {name}"))
    path = Path(name)
    try:
        fields = read_toml(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not a readable preset ({first_line(error)})") from None
    base = _named(fields.pop(_BASE), f"{path}: {_BASE}") if _BASE in fields else {}
    if unknown := next((key for key in fields if key not in Settings.model_fields), None):
        available = ", ".join([_BASE, *Settings.model_fields])
        raise InputError(f"{path}: {unknown!r}: no such setting; available: {available}")
    try:
        # Strictly: by default, ``top = true`` would be read as 1.0. JSON has lists for tuples, as TOML has.
        text = json.dumps({**base, **fields}, default=str)
        settings = Settings.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise InputError(f"{path}: {explain_validation(error)}") from None
    _check_components(settings, path)
    return settings


def preset_lines(settings: Settings) -> list[str]:
    """The lines of a preset file that states all settings.

    TOML cannot state None, so settings that are None are left out. None is their default.
    """
    head = f"# All settings of a study by LEAM {__version__}, for `leam study --preset FILE.toml`"
    values = settings.model_dump(mode="json", exclude_none=True)
    # JSON's strings, numbers, booleans and arrays are also TOML's.
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
    return [head, *lines]


def _named(name: object, where: str) -> dict[str, Any]:
    if not isinstance(name, str) or name not in PRESETS:
        raise InputError(f"{where}: no such preset; available: {', '.join(PRESETS)}")
    return PRESETS[name]


def _check_components(settings: Settings, path: Path) -> None:
    for field, registry in _COMPONENTS.items():
        value = getattr(settings, field)
        for name in (value,) if isinstance(value, str) else value or ():
            # The default chooses one of the weightings for each recognizer.
            if name not in registry and (field, name) != ("weighting", DEFAULT_WEIGHTING):
                available = ", ".join(registry)
                raise InputError(
                    f"{path}: {field}: {name!r}: no such {registry.kind}; available: {available}"
                )
