"""Attributes of a package that are imported when they are first used (PEP 562).

Owns: the `__getattr__` and the `__dir__` of such a package. Must not know what the names are.

Theory of operation: Python calls a module's `__getattr__` only for a name that the module does not
have. What was imported is stored in the module, so that later accesses are ordinary ones. A
package declares the same names to type checkers with imports under `if TYPE_CHECKING`, and hides
its `__getattr__` from them, because they take a module that has one to have every name.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module


def lazy_attributes(
    package: str, names: Sequence[str], modules: Mapping[str, str]
) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return the `__getattr__` and the `__dir__` of a package.

    package: its `__name__`
    names: its `__all__`
    modules: name to the module that has it; a name that is not in here is a submodule's
    """
    namespace = sys.modules[package].__dict__

    def get(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value: object
        if name in modules:
            value = getattr(import_module(modules[name]), name)
        else:
            value = import_module(f"{package}.{name}")
        namespace[name] = value
        return value

    def list_names() -> list[str]:
        return sorted({*namespace, *names})

    return get, list_names
