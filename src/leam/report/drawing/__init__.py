"""Draws the charts of a report. This package imports Altair; import it only when something is drawn.

Every chart has one Vega-Lite specification. The page shows it as SVG and, where scripts run, as an interactive view;
the folder ``figures`` of a run has it as SVG, PDF and PNG.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache, singledispatch
from hashlib import sha256
from typing import Any

import vl_convert
from altair.utils.schemapi import debug_mode

from leam.errors import printable
from leam.report.charts import Histograms, Lines, Matrix, RegionMap, Rows, Tree
from leam.report.drawing.histograms import draw_histograms
from leam.report.drawing.lines import draw_lines
from leam.report.drawing.look import COLUMN, MOST, PAGE, PAPER, PHONE, Look, Spec
from leam.report.drawing.rows import draw_rows
from leam.report.drawing.tables import draw_matrix, draw_region_map, draw_tree

__all__ = ["Look", "chart_spec", "chart_svg", "draw", "figure_files", "interactive_script"]

# What depends on the place where a chart is shown; the rest of a specification is the same everywhere.
_LAYOUT = ("columns", "concat", "params", "spacing", "config")
# Vega looks names of a legend up in objects of JavaScript, which have some of these.
_OF_OBJECTS = re.compile(
    "constructor|hasOwnProperty|isPrototypeOf|propertyIsEnumerable|toLocaleString|toString|valueOf|__[a-zA-Z]+__"
)
_ID, _REFERENCE = re.compile(r'\bid="([^"]+)'), re.compile(r'(\bid="|url\(#)([^")]+)')
_SIZE, _POINTS = re.compile(r'width="([\d.]+)" height="([\d.]+)"'), 0.75
# Vega with a function that shows a specification: its narrow layout where there is no room for the other one.
_SCRIPT = f"""
window.vega = vega;
window.vegaLite = vegaLite;
window.vegaEmbed = (element, spec, options) => {{
  const place = typeof element === "string" ? document.querySelector(element) : element;
  const room = place.clientWidth || document.documentElement.clientWidth;
  const narrow = room < {PAGE.width} * 0.7 ? spec.usermeta?.narrow : undefined;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  // A brush must not select text.
  place.style.userSelect = "none";
  return vegaEmbed(place, {{...spec, ...narrow}}, {{
    actions: false, renderer: "svg", tooltip: {{theme: dark ? "dark" : "light"}}, ...options,
  }});
}};
"""


@singledispatch
def draw(chart: object, look: Look) -> Spec:  # noqa: ARG001  for those that are registered
    """A chart as a Vega-Lite specification. A plug-in registers its own kinds of charts with ``draw.register``.

    Args:
        chart: What is drawn.
        look: Its size and colours.

    Raises:
        TypeError: Nothing is registered for this kind of chart.
    """
    raise TypeError(f"{type(chart).__name__}: not a chart; register how it is drawn")


draw.register(Rows, draw_rows)
draw.register(Lines, draw_lines)
draw.register(Histograms, draw_histograms)
draw.register(Matrix, draw_matrix)
draw.register(RegionMap, draw_region_map)
draw.register(Tree, draw_tree)


def chart_spec(chart: object, look: Look = PAGE) -> Spec:
    """A chart as a Vega-Lite specification.

    Args:
        chart: What is drawn.
        look: Its size and colours; those of the page by default. The specification then also has the layout for
            phones, as ``usermeta.narrow``.

    Raises:
        TypeError: It is no chart.
    """
    found = _specified(chart, replace(look, pointed=True))
    if look is PAGE:
        narrow = _specified(chart, replace(PHONE, pointed=True))
        found["usermeta"] = {"narrow": {key: narrow[key] for key in _LAYOUT if key in narrow}}
    return found


def chart_svg(chart: object, look: Look = PAGE) -> str:
    """A chart as an SVG element with text as text; the same chart gives the same element."""
    return _svg(_specified(chart, look))


def _svg(spec: Spec) -> str:
    """A specification as SVG, with identifiers that no other chart of a page has and that depend on the chart alone."""
    found = vl_convert.vegalite_to_svg(spec)
    numbers = {name: str(k) for k, name in enumerate(dict.fromkeys(_ID.findall(found)))}
    own = sha256(_REFERENCE.sub("", found).encode()).hexdigest()[:12]
    return _REFERENCE.sub(
        lambda one: f"{one[1]}c{own}-{numbers[one[2]]}" if one[2] in numbers else one[0], found
    )


def _specified(chart: object, look: Look) -> Spec:
    # Altair would check each part of a chart several times.
    with debug_mode(arg=False):
        found: Spec = _sound(draw(chart, look))
    return found


def _sound(part: Any) -> Any:  # noqa: ANN401  any part of a specification
    """A part without what Vega cannot read or SVG cannot hold: infinite numbers, control characters."""
    if isinstance(part, str):
        return f"{part} " if _OF_OBJECTS.fullmatch(part) else printable(part)
    if isinstance(part, dict):
        return {name: _sound(one) for name, one in part.items()}
    if isinstance(part, list):
        return [_sound(one) for one in part]
    if isinstance(part, int | float) and not isinstance(part, bool):
        # Larger whole numbers are fractions in JavaScript.
        exact = isinstance(part, float) or abs(part) < 2**53
        return None if not abs(part) < MOST else part if exact else float(part)
    return part


def figure_files(chart: object, *, wide: bool) -> dict[str, bytes]:
    """A chart for a paper, black on white, by suffix: as SVG and PDF with text as text, and as PNG with 300 dpi.

    Args:
        chart: What is drawn.
        wide: Make it 178 mm wide instead of 85 mm.
    """
    spec = {**_specified(chart, PAPER if wide else COLUMN), "background": "white"}
    svg = _svg(spec)
    return {
        "svg": svg.encode(),
        # A pixel has 1/96 inch, but vl-convert takes it for a point, which has 1/72.
        "pdf": vl_convert.svg_to_pdf(_SIZE.sub(_in_points, svg, count=1)),
        "png": vl_convert.svg_to_png(svg, scale=_POINTS, ppi=300),
    }


def _in_points(size: re.Match[str]) -> str:
    width, height = (_POINTS * float(side) for side in size.groups())
    return f'width="{width:g}" height="{height:g}"'


@cache
def interactive_script() -> str:
    """JavaScript that needs no network, with ``vegaEmbed(element, spec)``: shows a specification in an element."""
    return vl_convert.javascript_bundle(_SCRIPT)
