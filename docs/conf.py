"""Sphinx: Markdown pages and the notebook, as HTML with furo.

This file decides how the documentation is built: which files are pages, that the notebook is shown with the outputs it
was saved with, and how headings become anchors.
"""

from __future__ import annotations

from importlib.metadata import version as version_of

project = "Corrente"
author = "The Corrente authors"
copyright = "The Corrente authors"  # noqa: A001  the name is Sphinx's
release = version_of("corrente")

extensions = ["myst_nb", "sphinx_copybutton"]
exclude_patterns = ["generate"]

nb_execution_mode = "off"  # tests/stream/evaluation/test_notebook.py runs the notebook
myst_heading_anchors = 4  # anchors of headings are those of code hosts: links work there too

html_theme = "furo"
html_title = "Corrente"
html_static_path = ["_static"]
html_css_files = ["corrente.css"]
html_show_sphinx = False
html_copy_source = False
copybutton_exclude = ".linenos, .gp, .go"
