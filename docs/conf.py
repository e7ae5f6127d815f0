"""Configuration of the documentation."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from contextlib import suppress
from pathlib import Path

import dismaiflow

# Autodoc would import the modules with TYPE_CHECKING set, and then pydantic cannot build its
# models; what is imported already it leaves alone. Modules of extras may be missing.
for module in pkgutil.walk_packages(dismaiflow.__path__, "dismaiflow."):
    with suppress(ImportError):
        importlib.import_module(module.name)

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "dismaiflow"
author = "the dismaiflow developers"
copyright = author
release = dismaiflow.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "generated_tables",
]
exclude_patterns = ["_build"]
highlight_language = "none"  # most blocks are what a terminal shows
html_theme = "furo"
html_title = f"dismaiflow {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_copyright = False

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say types, with shapes and units
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_ivar = True  # attributes stand in the docstring of their class
# Shapes in docstrings, such as (n_sites,), are words to read and no links.
suppress_warnings = ["ref.python"]
