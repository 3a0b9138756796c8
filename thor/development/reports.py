"""Warnings of development mode: their class, and the line of the program that they name.

Owns: which code is Thor's own. Must not know what is checked.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

#: A method of one of Thor's classes, or the one that replaces it.
Method = Callable[..., Any]

#: The files between a check and the line of the program that is to be named.
_INNER_FILES = (str(Path(__file__).parent.parent) + os.sep, contextlib.__file__)


class DevelopmentWarning(UserWarning):
    """A likely mistake of the program, found in development mode."""


def warn(message: str) -> None:
    """Issue a `DevelopmentWarning` at the innermost line that is not Thor's."""
    level = 1
    frame = sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_INNER_FILES):
        frame = frame.f_back
        level += 1
    warnings.warn(message, DevelopmentWarning, stacklevel=level)


def is_thor_module(module: str) -> bool:
    """Return whether a module, given by its dotted name, is part of Thor."""
    return module.partition(".")[0] == "thor"


def closest_name(name: str, names: Iterable[str], similarity: float) -> str | None:
    """Return the one of `names` that is most like `name`; None if none is.

    similarity: how alike they must be, 0 to 1, as in `difflib`
    """
    return next(iter(get_close_matches(name, list(names), 1, similarity)), None)


def suggestion(closest: str | None) -> str:
    """Return the end of a message that suggests a name; empty without one."""
    return f"; did you mean {closest!r}?" if closest is not None else ""
