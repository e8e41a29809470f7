"""HTML pages that need no other file, made of sections of parts. They know nothing of studies."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import fields as fields_of
from dataclasses import is_dataclass, replace
from hashlib import sha256
from importlib import resources
from typing import Any

import jinja2
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup, escape

from leam.errors import printable
from leam.report.charts import Chart
from leam.report.parts import Drawing, every
from leam.report.section import Box

Sections = Sequence[tuple[str, Sequence[Box]]]
"""The name and the boxes of each section."""

_CODE = re.compile(r"``(.+?)``")
_INTERVAL = re.compile(r"(.*\d.*)\s(\[.*\])")
_WORD = re.compile(r"\w+")
# Control characters of names, and halves of surrogate pairs: names that are not UTF-8.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def html_page(
    title: str, heading: str, lead: str, sections: Sections, recognizers: Sequence[str] = ()
) -> str:
    """An HTML page that needs no other file.

    Args:
        title: The title of the window, after ``LEAM:``.
        heading: The heading.
        lead: The sentence below it.
        sections: The name and the boxes of each section.
        recognizers: The recognizers by which a reader can filter the page.
    """
    boxes = _boxes(sections)
    parts = every(part for _, box in boxes for part in box.parts)
    return html_file(
        "page.html",
        styles=["style.css", "page.css"],
        scripts=["shared.js", "page.js"],
        deferred=_interactive() if any(isinstance(part, Drawing) for part in parts) else "",
        title=title,
        heading=heading,
        lead=lead,
        boxes=boxes,
        recognizers=recognizers,
    )


def charts_of(sections: Sections) -> dict[str, Chart]:
    """The charts of a report by their anchors in the page."""
    anchor, found = _anchors(), {}
    for within, box in _boxes(sections):
        for part in every(box.parts):
            if isinstance(part, Drawing):
                found[anchor(part.alt, within)] = mapped(_readable, part.chart)
    return found


def _boxes(sections: Sections) -> list[tuple[str, Box]]:
    """The boxes of sections by their anchors."""
    return [
        (name if place == 0 else f"{name}-{place + 1}", box)
        for name, found in sections
        for place, box in enumerate(found)
    ]


def html_file(
    template: str,
    *,
    styles: Sequence[str],
    scripts: Sequence[str],
    deferred: str = "",
    **values: object,
) -> str:
    """A page from a template that extends ``base.html``, with its styles and scripts inside.

    The page's content security policy allows these scripts alone, and nothing that is loaded from elsewhere.

    Args:
        template: The template's file in this package.
        styles: Files of this package.
        scripts: Files of this package, which run in this order at the end of the page. ``theme.js`` runs before.
        deferred: The text of a script that others run when they need it.
        values: What the template shows.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("leam.report", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
    )
    environment.filters |= {
        "anchor": _anchors(),
        "data_uri": _data_uri,
        "interval": _interval,
        "prose": _prose,
        "spec": _spec,
        "svg": _svg,
    }
    theme, *others = [_packaged(name) for name in ("theme.js", *scripts)]
    page = environment.get_template(template)
    return page.render(
        values,
        style=Markup().join(map(_packaged, styles)),
        theme_script=theme,
        scripts=others,
        deferred=deferred,
        policy=_policy([theme, *others, deferred]),
    )


def _anchors() -> Callable[[str, str], str]:
    """Anchors of parts by their words and their section, each only once."""
    taken: dict[str, int] = {}

    def anchor(text: str, within: str) -> str:
        name = f"{within}-{slug(text)}"
        taken[name] = taken.get(name, 0) + 1
        return name if taken[name] == 1 else f"{name}-{taken[name]}"

    return anchor


def slug(text: str) -> str:
    """A text as part of an anchor. A chart's anchor is that of its section, a hyphen and the slug of its words."""
    return "-".join(_WORD.findall(text.casefold())) or "part"


def _packaged(name: str) -> Markup:
    return Markup((resources.files("leam.report") / name).read_text(encoding="utf-8"))  # noqa: S704  our own files


def _policy(scripts: Sequence[str]) -> str:
    """A content security policy: these scripts, and nothing from elsewhere."""
    digests = [sha256(one.encode()).digest() for one in scripts if one]
    hashes = " ".join(f"'sha256-{base64.b64encode(one).decode()}'" for one in digests)
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


def _shown(value: Any) -> Any:  # noqa: ANN401  what a template shows
    return type(value)(_readable(value)) if isinstance(value, str) else value


def _readable(text: str) -> str:
    """A text without control characters and without halves of surrogate pairs."""
    return _CONTROL.sub(lambda found: printable(found[0]), text)


def mapped(change: Callable[[str], str], part: Any) -> Any:  # noqa: ANN401  parts and charts of any kind
    """A part of the page, or a chart, with each of its texts changed."""
    if isinstance(part, str):
        return change(part)
    if isinstance(part, dict):
        return {mapped(change, key): mapped(change, one) for key, one in part.items()}
    if isinstance(part, list | tuple):
        return tuple(mapped(change, one) for one in part)
    if is_dataclass(part) and not isinstance(part, type):
        fields = {one.name: mapped(change, getattr(part, one.name)) for one in fields_of(part)}
        return replace(part, **fields)
    return part


def _prose(text: str) -> Markup:
    """A paragraph with what stands between double backticks as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704  escaped before


def _interval(text: str) -> Markup:
    """A figure with its interval, between which a narrow column may break the line."""
    found = _INTERVAL.fullmatch(text)
    return Markup("{} <small>{}</small>").format(*found.groups()) if found else escape(text)


def _svg(chart: Chart) -> Markup:
    # Altair is imported only when a chart is drawn.
    from leam.report.drawing import chart_svg  # noqa: PLC0415

    return Markup(chart_svg(mapped(_readable, chart)))  # noqa: S704  Vega escapes the text


def _spec(chart: Chart) -> Markup:
    """The specification of a chart as JSON that cannot end a script element."""
    from leam.report.drawing import chart_spec  # noqa: PLC0415

    return htmlsafe_json_dumps(
        chart_spec(mapped(_readable, chart)), allow_nan=False, separators=(",", ":")
    )


def _interactive() -> Markup:
    from leam.report.drawing import interactive_script  # noqa: PLC0415

    # A script ends at the first of these, even inside a text.
    return Markup(interactive_script().replace("</script", "<\\/script").replace("\r", ""))  # noqa: S704  packaged


def _data_uri(jpeg: bytes) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"
