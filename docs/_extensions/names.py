"""References to names of the package: to the page that describes them, or plain if the name exists but has no page."""

from __future__ import annotations

from pydoc import locate

from docutils.nodes import Element
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment

import leam


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, text: Element
) -> Element | None:
    """A link to the public name of the object, or the text alone; None, which warns, for a name that is nowhere."""
    target = str(node.get("reftarget", ""))
    if node.get("refdomain") != "py" or not target.startswith("leam."):
        return None
    last = target.rpartition(".")[2]
    thing = locate(target)
    if thing is None:
        return None
    if last in leam.__all__ and thing is getattr(leam, last) and target != f"leam.{last}":
        domain = env.get_domain("py")
        return domain.resolve_any_xref(
            env, node["refdoc"], app.builder, f"leam.{last}", node, text
        )[0][1]
    return text


def setup(app: Sphinx) -> dict[str, bool]:
    """Add the handler."""
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True}
