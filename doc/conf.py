"""How the documentation is built: `make doc`, with every warning an error."""

import re
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent
_VERSION = re.search(r'__version__ = "([^"]+)"', (_ROOT / "thor/__init__.py").read_text())

project = "Thor"
author = "the Thor contributors"
copyright = "the Thor contributors, MIT licence"
release = version = _VERSION.group(1) if _VERSION else ""

extensions: list[str] = []
exclude_patterns = ["_build"]
nitpicky = True
# What signatures name and no page describes: types of Python's and aliases of `thor.types`.
nitpick_ignore_regex = [("py:.*", r"(?!thor).*")]
highlight_language = "python"

html_theme = "furo"
html_title = f"Thor {release}"
html_show_sourcelink = False
html_copy_source = False
