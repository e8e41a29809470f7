"""How Sphinx builds the site; `make docs` runs it. Notebooks run once and again when they change."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

import leam

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))

# Notebooks use what the packages ship: no downloads, no asset folder, one thread, no colours of a terminal.
os.environ.update(LEAM_OFFLINE="1", OMP_NUM_THREADS="1", NO_COLOR="1", COLUMNS="110")
os.environ.pop("LEAM_ASSETS", None)
# `leam` in a notebook is the command of the environment that builds the site.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

# autodoc imports modules with `TYPE_CHECKING` set, which pydantic does not bear; these are imported by then.
for name in leam.__all__:
    getattr(leam, name)

project = "LEAM"
author = "The LEAM contributors"
copyright = "The LEAM contributors"  # noqa: A001  Sphinx's name
extensions = [
    "commands",
    "names",
    "streams",
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_design",
]
exclude_patterns = ["_extensions"]
nitpicky = True
smartquotes = False  # options begin with two hyphens
# Names of other packages, whose documentation is not at hand without a network, and private names.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!leam\b).*"),
    (r"py:.*", r"leam\..*\._.*"),
]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 4
nb_execution_mode = "cache"
nb_execution_cache_path = str(HERE.parent / "build" / "notebooks")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
# Examples in docstrings speak of the reader's files; those on pages are complete, and are run.
doctest_test_doctest_blocks = ""
doctest_global_setup = "import leam, numpy as np, torch"

# Pages that lie at the top of the repository have a page here that includes them.
INCLUDED = {"CHANGELOG": "changelog", "CONTRIBUTING": "contributing", "SECURITY": "security-policy"}

html_theme = "pydata_sphinx_theme"
html_title = "LEAM"
html_static_path = ["_static"]
# Pages without pages below them need no list of these.
html_sidebars = {page: [] for page in ("faq", "gallery", "index", "install", *INCLUDED.values())}
html_css_files = ["site.css"]
html_context = {"default_mode": "auto"}
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "LEAM"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "secondary_sidebar_items": ["page-toc"],
    "navigation_with_keys": False,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
linkcheck_timeout = 20


def to_included(_app: Sphinx, _page: str, source: list[str]) -> None:
    """Let links to pages at the top of the repository lead to the pages that include them."""
    for file, page in INCLUDED.items():
        source[0] = re.sub(rf"\]\((\.\./)+{file}\.md", f"](/{page}.md", source[0])


def setup(app: Sphinx) -> None:
    """Add the handler."""
    app.connect("source-read", to_included)
