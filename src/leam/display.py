"""How objects show themselves in a notebook: a heading, pictures and a small table."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from leam.errors import printable

_CELL = "text-align:left;padding:.1em .9em .1em 0;vertical-align:top"


def card(
    title: str,
    facts: Mapping[str, object] | None = None,
    *,
    header: Sequence[str] = (),
    rows: Iterable[Sequence[object]] = (),
    pictures: Mapping[str, bytes] | None = None,
) -> str:
    """HTML of an object, in the colours of the notebook.

    Args:
        title: The heading.
        facts: Values by name, one per line; those that are None are left out.
        header: The names of the columns of ``rows``.
        rows: The rows of a table below the facts.
        pictures: PNG files by what they show.
    """
    parts = [f"<div><strong>{_text(title)}</strong></div>"]
    for alt, png in (pictures or {}).items():
        data = base64.b64encode(png).decode()
        parts.append(
            f'<img style="max-width:100%" alt="{_text(alt)}" src="data:image/png;base64,{data}">'
        )
    known = [(name, value) for name, value in (facts or {}).items() if value is not None]
    parts.append(_table((), known))
    parts.append(_table(header, rows))
    return f"<div>{''.join(parts)}</div>"


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [
        "".join(_cell("th" if not at else "td", one) for at, one in enumerate(row)) for row in rows
    ]
    if not lines:
        return ""
    if header:
        lines.insert(0, "".join(_cell("th", name) for name in header))
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _cell(kind: str, value: object) -> str:
    return f'<{kind} style="{_CELL}">{_text(value)}</{kind}>'


def _text(value: object) -> str:
    return escape(printable(str(value)))
