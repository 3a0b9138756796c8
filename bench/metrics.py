"""Describe the source by figures: sizes, encapsulation, types, hierarchies, tests.

    python -m bench.metrics [--collect] [ROOT ...]

Each ROOT is a checkout, by default the current folder; several are printed side by side. Only the
source is read (`ast`), never imported, so an old checkout needs nothing installed.

A package is `thor.X`; those of `thor.http` count as packages of their own. An attribute is
defined where it is assigned on self or cls, or is a class or module variable, a function, or a
slot. An attribute that is defined in several places counts as foreign only if none of them is the
accessing module, or package: the source does not say which class the object is of.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from argparse import ArgumentParser
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from pathlib import Path
from statistics import mean, median, quantiles
from typing import NamedTuple

from bench.harness import table

#: Methods and functions whose underscore does not mean private.
PUBLIC_BY_DOCUMENTATION = {"_asdict", "_exit", "_fields", "_getframe", "_make", "_replace"}
STUB_ERRORS = {"AssertionError", "NotImplementedError"}
EXCEPTION_RE = re.compile(r"(Error|Exception|Warning|Exit|Interrupt)$")

Function = ast.FunctionDef | ast.AsyncFunctionDef
#: The module and the name of a class.
ClassKey = tuple[str, str]


class PrivateAccesses(NamedTuple):
    """How often `obj._x` stands in the source: all, of another module, of another package."""

    all: int
    other_module: int
    other_package: int


@dataclass
class Module:
    """One file of the package. name: dotted"""

    name: str
    lines: int
    tree: ast.Module
    is_package: bool

    @property
    def package(self) -> str:
        """Return the package that the module belongs to, as this script counts packages."""
        parts = self.name.split(".")
        if not self.is_package:
            parts.pop()
        return ".".join(parts[: 3 if parts[1:2] == ["http"] else 2])

    @property
    def top_package(self) -> str:
        """Return the `thor.X` that the module belongs to."""
        return ".".join(self.package.split(".")[:2])

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """Return all nodes of the file."""
        return list(ast.walk(self.tree))

    @cached_property
    def functions(self) -> list[Function]:
        """Return all functions and methods of the file, nested ones too."""
        return [node for node in self.nodes if isinstance(node, Function)]

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """Return the classes of the file by their names."""
        return {node.name: node for node in self.nodes if isinstance(node, ast.ClassDef)}

    @cached_property
    def imports(self) -> dict[str, ClassKey]:
        """Return local name -> module and name that it is imported from."""
        return {
            alias.asname or alias.name: (node.module or "", alias.name)
            for node in self.nodes
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    @cached_property
    def defined(self) -> set[str]:
        """Return the private names that the file defines."""
        return {name for name in chain(*map(_defined_by, self.nodes)) if name.startswith("_")}


def _defined_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, Function | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _is_own(node):
        yield node.attr
    if isinstance(node, ast.Module | ast.ClassDef):
        for statement in node.body:
            yield from _assigned_by(statement)


def _assigned_by(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        for node in ast.walk(statement):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                yield node.id
                if node.id == "__slots__" and statement.value is not None:
                    yield from _strings(statement.value)


def _strings(node: ast.AST) -> Iterator[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.value


def _name_of(node: ast.AST) -> str:
    """Return the last name of a dotted, subscripted or called expression, or ""."""
    while isinstance(node, ast.Subscript | ast.Call):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    return getattr(node, "id", "") or getattr(node, "attr", "")


def _is_own(node: ast.Attribute) -> bool:
    """Tell whether `node` is an attribute of self, cls or super()."""
    return not isinstance(node.value, ast.Attribute) and _name_of(node.value) in {
        "self",
        "cls",
        "super",
    }


def _is_private(name: str) -> bool:
    return name.startswith("_") and not (name.startswith("__") and name.endswith("__"))


@dataclass
class Source:
    """The modules of a package, and what is counted over all of them."""

    modules: dict[str, Module] = field(default_factory=dict)

    @classmethod
    def read(cls, root: Path) -> Source:
        """Parse every module of `root`/thor; SystemExit if there is none."""
        source = cls()
        for path in sorted((root / "thor").rglob("*.py")):
            text = path.read_text(encoding="utf-8")
            parts = path.relative_to(root).with_suffix("").parts
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            tree = ast.parse(text, str(path))
            source.modules[name] = Module(name, len(text.splitlines()), tree, is_package)
        if not source.modules:
            raise SystemExit(f"{root}: has no package thor")
        return source

    def foreign_accesses(self) -> list[tuple[str, str]]:
        """Return (module, attribute) for each `obj._x` where `_x` is not defined in the module."""
        return [
            (module.name, name)
            for module in self.modules.values()
            for name in _accessed(module)
            if name not in module.defined
        ]

    def private_accesses(self) -> PrivateAccesses:
        """Count `obj._x` where obj is neither self nor cls."""
        packages: dict[str, set[str]] = defaultdict(set)
        for module in self.modules.values():
            packages[module.package] |= module.defined
        in_thor: set[str] = set().union(*packages.values())
        counts = [0, 0, 0]
        for module in self.modules.values():
            for name in _accessed(module):
                counts[0] += 1
                counts[1] += name not in module.defined
                counts[2] += name in in_thor and name not in packages[module.package]
        return PrivateAccesses(*counts)

    def uses_of_any(self) -> int:
        """Count `Any` in annotations and other expressions; imports aside."""
        return sum(
            isinstance(node, ast.Name | ast.Attribute) and _name_of(node) == "Any"
            for module in self.modules.values()
            for node in module.nodes
        )

    def bases(self, key: ClassKey) -> list[ClassKey]:
        """Return the bases of a class that are classes of Thor."""
        module = self.modules[key[0]]
        found = (self._resolve(module, _name_of(base)) for base in module.classes[key[1]].bases)
        return [base for base in found if base is not None and base != key]

    def _resolve(self, module: Module, name: str, hops: int = 8) -> ClassKey | None:
        if name in module.classes:
            return module.name, name
        origin, original = module.imports.get(name, ("", name))
        if origin in self.modules and hops:
            return self._resolve(self.modules[origin], original, hops - 1)
        # Imported as part of a module, or lazily: the name decides if only one class has it.
        owners = [each.name for each in self.modules.values() if original in each.classes]
        return (owners[0], original) if len(owners) == 1 else None

    def class_keys(self) -> list[ClassKey]:
        """Return every class of Thor."""
        return [(each.name, name) for each in self.modules.values() for name in each.classes]

    def _is_exception(self, key: ClassKey) -> bool:
        nodes = self.modules[key[0]].classes[key[1]].bases
        return any(EXCEPTION_RE.search(_name_of(node)) for node in nodes) or any(
            map(self._is_exception, self.bases(key))
        )

    def deepest_hierarchy(self) -> list[str]:
        """Return the names of the longest chain of classes, from the base on."""
        keys = [key for key in self.class_keys() if not self._is_exception(key)]
        return max(map(self._chain, keys), key=len, default=[])

    def _chain(self, key: ClassKey) -> list[str]:
        return [*max(map(self._chain, self.bases(key)), key=len, default=[]), key[1]]

    def stubs_of_split_classes(self) -> dict[str, int]:
        """Return class -> abstract stubs, where a subclass stands in another file of its `thor.X`.

        A stub is a method that only raises AssertionError or NotImplementedError.
        """
        found = {}
        for key in self.class_keys():
            for base in self.bases(key):
                ours, theirs = self.modules[key[0]], self.modules[base[0]]
                if ours is not theirs and ours.top_package == theirs.top_package:
                    found[base[1]] = sum(map(_is_stub, theirs.classes[base[1]].body))
        return {name: stubs for name, stubs in found.items() if stubs}

    def documented(self) -> tuple[int, int]:
        """Return how many public names have a docstring, and how many there are."""
        having = [
            ast.get_docstring(node) is not None
            for module in self.modules.values()
            if not any(map(_is_private, module.name.split(".")))
            for node in [module.tree, *_public_definitions(module.tree)]
        ]
        return sum(having), len(having)


def _accessed(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if (
            isinstance(node, ast.Attribute)
            and _is_private(node.attr)
            and node.attr not in PUBLIC_BY_DOCUMENTATION
            and not _is_own(node)
        ):
            yield node.attr


def _is_stub(node: ast.stmt) -> bool:
    if not isinstance(node, Function):
        return False
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    return (
        len(body) == 1
        and isinstance(body[0], ast.Raise)
        and body[0].exc is not None
        and _name_of(body[0].exc) in STUB_ERRORS
    )


def _public_definitions(node: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    for child in node.body:
        if not isinstance(child, Function | ast.ClassDef) or child.name.startswith("_"):
            continue
        if {_name_of(each) for each in child.decorator_list} & {"overload", "setter"}:
            continue  # documented at the implementation, and at the property
        yield child
        if isinstance(child, ast.ClassDef):
            yield from _public_definitions(child)


def _lines(node: Function) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def _test_lines(root: Path) -> int:
    paths = (root / "test").rglob("*.py")
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)


def collect(root: Path) -> int:
    """Return the number of test cases that pytest collects in `root`."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider"]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    count = re.search(r"(\d+)(?:/\d+)? tests? collected", result.stdout)
    if result.returncode or count is None:
        raise SystemExit(f"{root}: pytest collects no tests:\n{result.stdout[-2000:]}")
    return int(count[1])


def measure(root: Path, source: Source) -> dict[str, str]:
    """Return the figures of the checkout in `root`, name -> text."""
    modules = source.modules.values()
    lines = sum(module.lines for module in modules)
    longest_file = max(modules, key=lambda module: module.lines)
    functions = [
        (_lines(node), f"{module.name}.{node.name}")
        for module in modules
        for node in module.functions
    ]
    sizes = [size for size, _ in functions] or [0]
    longest_function = max(functions, default=(0, "-"))
    private = source.private_accesses()
    hierarchy = source.deepest_hierarchy()
    stubs = source.stubs_of_split_classes()
    documented, public = source.documented()
    test_lines = _test_lines(root)
    return {
        "files": str(len(modules)),
        "lines": str(lines),
        "lines per file, mean": f"{mean(module.lines for module in modules):.0f}",
        "longest file": f"{longest_file.lines} ({longest_file.name})",
        "functions": str(len(functions)),
        "lines per function, median": f"{median(sizes):.0f}",
        "lines per function, 90th percentile": f"{quantiles([*sizes, sizes[-1]], n=10)[-1]:.0f}",
        "longest function": f"{longest_function[0]} ({longest_function[1]})",
        "private attributes of other objects": str(private.all),
        "private attributes of other modules": str(private.other_module),
        "private attributes of other packages": str(private.other_package),
        "Any": str(source.uses_of_any()),
        "deepest class hierarchy": str(len(hierarchy)),
        "abstract stubs of classes split over files": str(sum(stubs.values())),
        "public names with a docstring": f"{100 * documented / public:.1f} % of {public}",
        "lines of test/": str(test_lines),
        "lines of test/ per line of thor/": f"{test_lines / max(lines, 1):.2f}",
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Print one table with a column for each checkout."""
    parser = ArgumentParser(prog="bench.metrics", description=__doc__.partition("\n")[0])
    parser.add_argument("roots", metavar="ROOT", nargs="*", type=Path, help="a checkout")
    parser.add_argument("--collect", action="store_true", help="count test cases too, with pytest")
    args = parser.parse_args(argv)
    roots = args.roots or [Path()]
    sources = list(map(Source.read, roots))
    columns = list(map(measure, roots, sources))
    if args.collect:
        for root, column in zip(roots, columns, strict=True):
            column["test cases"] = str(collect(root))
    rows = [(name, *(column[name] for column in columns)) for name in columns[0]]
    print(table(("thor/", *map(str, roots)), rows))
    for root, source in zip(roots, sources, strict=True):
        print(f"\n{root}: deepest class hierarchy: {' > '.join(source.deepest_hierarchy())}")
        stubs = source.stubs_of_split_classes()
        print(f"{root}: classes with abstract stubs: {', '.join(sorted(stubs)) or 'none'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
