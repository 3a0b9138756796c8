"""Which package may import which, and use what of it: the rules, checked from the source.

The packages are layers, and imports go left:

    native, types, lazy, cache <- events <- loop <- dns, binding, udp, tcp, workers <- tls <- http
        <- files <- proxy | asgi | web | green <- cli

An import inside a function counts like one at the top: it is an edge at run time. One inside
`if TYPE_CHECKING:` does not: annotations may name what a program passes at run time, which
is how a lower layer describes a higher one without calling it. Inside a package it counts, too: the
modules of a package import each other without a cycle.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

from bench.metrics import Source
from thor_support import ROOT

# -- the tables ---------------------------------------------------------------------------------

LAYERS = (
    ("native", "types", "lazy", "cache"),
    ("events",),
    ("loop",),
    ("dns", "binding", "udp", "tcp", "workers"),
    ("tls",),
    ("http",),
    ("files",),
    ("proxy", "asgi", "web", "green"),
    ("cli",),
)

#: What a package may import beyond what is left of it.
SIDEWAYS = {
    "binding": {"dns"},
    "tcp": {"dns", "binding"},  # names are resolved before they are connected to
    "udp": {"dns", "binding"},
    "aio": {"types", "events", "loop"},
    "testing": {package for layer in LAYERS for package in layer} - {"cli"},
    "development": {package for layer in LAYERS for package in layer} - {"cli"},
    # The public names.
    "thor": {package for layer in LAYERS for package in layer} - {"cli"} | {"aio", "development"},
    "__main__": {"cli"},
    "cli": {"thor", "development"},
}

#: asyncio is hosted by name only: these import the bridge inside a function, when it is first used.
#: So is development mode imported when it is switched on: it knows all that it checks.
DEFERRED = {("events", "aio"), ("loop", "aio"), ("loop", "development")}

#: The same inside `http` (rules 1 and 2): `wire` knows its own files, headers and errors; the
#: client and the server never know each other.
HTTP_LAYERS = (
    ("semantics",),
    ("error",),
    ("headers",),
    ("wire", "dates"),
    ("uri", "conditional"),
    ("streams", "transport_errors"),
    ("body_splice",),
    ("http1",),
    ("client", "server"),
    ("relaying",),
    ("common",),  # re-exports for programs that exist; nothing here needs it
)

#: Files of `http` that know bytes alone: of the other packages they may import these.
HTTP_PURE = {
    "semantics": set(),
    "error": set(),
    "headers": {"types"},
    "wire": {"native", "cache"},
    "uri": {"types"},
    "conditional": {"types"},
    "dates": set(),
}

#: Files that may import the native accelerator; each has its Python twin beside it.
NATIVE_USERS = {"thor.http.wire.body", "thor.http.wire.reader", "thor.http.wire.writer"}

#: Modules of the standard library that only some files may touch (rule 5), as patterns.
GUARDED = {
    "select": {"thor.loop.factory", "thor.loop.poll", "thor.loop.epoll", "thor.loop.kqueue"},
    "socket": {
        "thor.types",  # names its classes only
        "thor.loop.wakeup",
        "thor.dns",
        "thor.binding",
        "thor.udp*",
        "thor.tcp*",
        "thor.tls*",
        "thor.testing.memory",
        "thor.testing.peer",
    },
    "asyncio": {"thor.aio"},
    "threading": {
        "thor.loop.threads",
        "thor.loop.wakeup",
        "thor.cli.line_writer",
        "thor.development.calls",
    },
    "queue": {"thor.loop.threads"},
    "concurrent": set(),
    "multiprocessing": set(),
}


# -- reading the source -------------------------------------------------------------------------


class Import(NamedTuple):
    """One edge: `importer` imports `target` (a module, or a name of one outside Thor)."""

    importer: str
    target: str
    line: int
    in_function: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.target}"


def modules_of(top: Path) -> dict[str, Path]:
    """Every module of the package at `top`: dotted name to file."""
    found = {}
    for path in sorted(top.rglob("*.py")):
        parts = path.relative_to(top.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules_of(ROOT / "thor")


class _Reader(ast.NodeVisitor):
    def __init__(
        self, module: str, package: str, known: dict[str, Path], for_types: bool = False
    ) -> None:
        self.module = module
        self.for_types = for_types
        self.package = package
        self.known = known
        self.depth = 0
        self.found: list[Import] = []

    def visit_If(self, node: ast.If) -> None:
        test = node.test
        name = test.id if isinstance(test, ast.Name) else getattr(test, "attr", "")
        if name == "TYPE_CHECKING" and not self.for_types:
            for other in node.orelse:
                self.visit(other)
        else:
            self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_AsyncFunctionDef = visit_FunctionDef  # type: ignore[assignment]

    def visit_Import(self, node: ast.Import) -> None:
        for name in node.names:
            self._add(name.name, node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        base = node.module or ""
        if node.level:
            above = self.package.split(".")[: len(self.package.split(".")) - node.level + 1]
            base = ".".join([*above, base] if base else above)
        for name in node.names:
            inner = f"{base}.{name.name}"
            self._add(inner if inner in self.known else base, node)

    def _add(self, target: str, node: ast.stmt) -> None:
        found = Import(self.module, target, node.lineno, self.depth > 0)
        if found not in self.found:
            self.found.append(found)


def read_imports(
    module: str, source: str, *, package: bool, known: dict[str, Path], for_types: bool = False
) -> list[Import]:
    """Return the run-time imports of one module's source; with `for_types`, those for type checking
    too."""
    reader = _Reader(module, module if package else module.rpartition(".")[0], known, for_types)
    reader.visit(ast.parse(source))
    return reader.found


def all_imports() -> Iterator[Import]:
    for module, path in MODULES.items():
        package = path.name == "__init__.py"
        yield from read_imports(module, path.read_text(), package=package, known=MODULES)


def package_of(module: str) -> str:
    """`thor.http.wire.head` is in `http`; the package itself is the package `thor`."""
    return module.split(".")[1] if "." in module else module


def subpackage_of(module: str) -> str:
    """`thor.http.wire.head` is in `wire` of `http`; `thor.http` itself is ''."""
    return ".".join(module.split(".")[2:3])


def allowed_along(chain: Sequence[Sequence[str]]) -> dict[str, set[str]]:
    """Room to the packages that it may import: itself, and what is left of it."""
    allowed: dict[str, set[str]] = {}
    for packages in chain:
        left = set(allowed)
        allowed |= {package: left | {package} for package in packages}
    return allowed


def allowed_packages() -> dict[str, set[str]]:
    """The table of edges between the packages of `thor`."""
    allowed = allowed_along(LAYERS)
    for package in [each for layer in LAYERS[LAYERS.index(("loop",)) + 1 :] for each in layer]:
        allowed[package].add("aio")
    for package, more in SIDEWAYS.items():
        allowed[package] = allowed.get(package, {package}) | more
    return allowed


def is_thors(module: str) -> bool:
    return module == "thor" or module.startswith("thor.")


def listed(found: list[Import]) -> str:
    return "\n".join(map(str, found))


THOR_IMPORTS = [edge for edge in all_imports() if is_thors(edge.target)]
OUTER_IMPORTS = [edge for edge in all_imports() if not is_thors(edge.target)]


# -- the rules ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "package", "expected"),
    [
        pytest.param("import a.b", False, {"a.b"}, id="plain"),
        pytest.param("from a import b, c", False, {"a.b", "a"}, id="module-or-name"),
        pytest.param("from . import z", False, {"a"}, id="relative"),
        pytest.param("from .b import z", True, {"a.m.b"}, id="relative-in-package"),
        pytest.param("from ..b import z", True, {"a.b"}, id="relative-two-up"),
        pytest.param("def f():\n  import a.b", False, {"a.b"}, id="in-function"),
        pytest.param("if TYPE_CHECKING:\n  import a.b", False, set(), id="type-only"),
        pytest.param("if t.TYPE_CHECKING:\n  import x\nelse:\n  import y", False, {"y"}, id="else"),
        pytest.param("try:\n  import x\nexcept E:\n  import y", False, {"x", "y"}, id="try"),
    ],
)
def test_reader_finds_the_run_time_imports(source: str, package: bool, expected: set[str]) -> None:
    known = {"a": Path(), "a.b": Path()}
    found = read_imports("a.m", source, package=package, known=known)
    assert {edge.target for edge in found} == expected


def test_every_package_has_a_layer() -> None:
    assert {package_of(module) for module in MODULES} <= allowed_packages().keys()


def test_imports_go_left() -> None:
    allowed = allowed_packages()
    wrong = []
    for edge in THOR_IMPORTS:
        packages = package_of(edge.importer), package_of(edge.target)
        deferred = edge.in_function and packages in DEFERRED
        if packages[1] not in allowed[packages[0]] and not deferred:
            wrong.append(edge)
    assert not wrong, listed(wrong)


def test_nothing_imports_testing() -> None:
    wrong = [
        edge
        for edge in THOR_IMPORTS
        if package_of(edge.target) == "testing" != package_of(edge.importer)
    ]
    assert not wrong, listed(wrong)


def test_imports_inside_http_go_left() -> None:
    allowed = allowed_along(HTTP_LAYERS)
    wrong = [
        edge
        for edge in THOR_IMPORTS
        if package_of(edge.importer) == package_of(edge.target) == "http"
        and subpackage_of(edge.importer)
        and subpackage_of(edge.target) not in allowed.get(subpackage_of(edge.importer), set())
    ]
    assert not wrong, listed(wrong)


def test_pure_http_files_import_no_package_that_does_io() -> None:
    wrong = []
    for edge in THOR_IMPORTS:
        pure = (
            HTTP_PURE.get(subpackage_of(edge.importer))
            if package_of(edge.importer) == "http"
            else None
        )
        if pure is not None and package_of(edge.target) not in {"http", *pure}:
            wrong.append(edge)
    assert not wrong, listed(wrong)


def test_native_is_imported_only_by_the_files_listed() -> None:
    users = {edge.importer for edge in THOR_IMPORTS if package_of(edge.target) == "native"}
    assert users - {"thor.native"} == NATIVE_USERS


@pytest.mark.parametrize("guarded", GUARDED)
def test_guarded_modules_are_imported_only_where_they_belong(guarded: str) -> None:
    wrong = [
        edge
        for edge in OUTER_IMPORTS
        if edge.target.split(".")[0] == guarded
        and not any(fnmatch(edge.importer, place) for place in GUARDED[guarded])
    ]
    assert not wrong, listed(wrong)


def test_names_are_resolved_in_dns_only() -> None:
    users = {
        module
        for module, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in {"getaddrinfo", "gethostbyname"}
    }
    assert users <= {"thor.dns"}


def _extras() -> dict[str, str]:
    """Optional distributions that users may install: name to the extra that has it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    return {
        requirement.split(">")[0].split("[")[0].replace("-", "_"): extra
        for extra, requirements in extras.items()
        if extra not in {"test", "doc", "dev"}
        for requirement in requirements
    }


def test_optional_dependency_is_imported_in_one_file_that_names_its_extra() -> None:
    extras = _extras()
    users: dict[str, set[str]] = {}
    for edge in OUTER_IMPORTS:
        name = edge.target.split(".")[0]
        if name not in sys.stdlib_module_names:
            users.setdefault(name, set()).add(edge.importer)
    for name, importers in users.items():
        assert len(importers) == 1, f"{name} is imported in {sorted(importers)}"
        assert name in extras, f"{name} is in no extra of pyproject.toml"
        source = MODULES[importers.pop()].read_text()
        assert f"thor[{extras[name]}]" in source, f"the absence of {name} names no extra"


# -- inside packages ----------------------------------------------------------------------------

#: Packages whose modules import each other without a cycle, imports for type checking counted.
ACYCLIC = (
    "loop",
    "tcp",
    "tls",
    "udp",
    "http.wire",
    "http.http1",
    "http.client",
    "http.server",
    "development",
    "files",
    "proxy",
    "cli",
    "testing",
)


@pytest.mark.parametrize("package", ACYCLIC)
def test_modules_of_a_package_import_each_other_without_a_cycle(package: str) -> None:
    prefix = f"thor.{package}."
    graph = {
        module: {
            edge.target
            for edge in read_imports(
                module, path.read_text(), package=False, known=MODULES, for_types=True
            )
            if edge.target.startswith(prefix)
        }
        for module, path in MODULES.items()
        if module.startswith(prefix)
    }
    assert tuple(TopologicalSorter(graph).static_order())


def test_private_attributes_are_used_in_their_own_module_only() -> None:
    assert not Source.read(ROOT).foreign_accesses()


# -- importing ----------------------------------------------------------------------------------

#: Runs in a bare interpreter: forks for each module named on its input, so that each is imported
#: where nothing of Thor is, and reports what went wrong.
IMPORT_EACH = """
import json, os, sys, threading, traceback

def attempt(name):
    before = set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()
    try:
        __import__(name)
    except BaseException:
        return traceback.format_exc()
    after = set(os.listdir("/proc/self/fd")) if before else before
    if after - before:
        return f"leaves fds open: {sorted(after - before)}"
    if threading.active_count() > 1:
        return f"leaves threads: {threading.enumerate()}"
    if "asyncio" in sys.modules and name != "thor.aio":
        return "imports asyncio before it is used"
    return ""

failures = {}
for name in json.load(sys.stdin):
    readable, writable = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(readable)
        os.write(writable, attempt(name).encode()[-4096:])
        os._exit(0)
    os.close(writable)
    with os.fdopen(readable, "rb") as answer:
        said = answer.read().decode(errors="replace")
    status = os.waitpid(pid, 0)[1]
    if said or status:
        failures[name] = said or f"ended with {status}"
json.dump(failures, sys.stdout)
"""


@pytest.mark.deadline_s(150)
def test_each_module_imports_alone_and_opens_nothing(tmp_path: Path) -> None:
    names = [name for name in MODULES if not name.endswith("__main__")]
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_EACH],
        input=json.dumps(names),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **{key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ},
            "PYTHONPATH": str(ROOT),
            "PYTHONPYCACHEPREFIX": str(tmp_path),
        },
        check=True,
    )
    failures = json.loads(result.stdout)
    assert not failures, "\n".join(f"{name}: {exc}" for name, exc in failures.items())
