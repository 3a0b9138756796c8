"""The documentation: every block of code runs, every link leads somewhere, every name exists.

How blocks run is in `test/support/thor_documentation.py`.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from inspect import Parameter, isroutine
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import thor_documentation

import thor.http.client
import thor.proxy
import thor_support
from thor.cli import make_parser
from thor.http.error import HttpError
from thor_support import ROOT

DOC = ROOT / "doc"
PAGES = [
    ROOT / "README.rst",
    *sorted(path for path in DOC.rglob("*.rst") if "_build" not in path.parts),
]
#: The pages of the modules, which have all the same headings.
MODULE_PAGES = [
    "events", "loop", "tcp", "tls", "udp", "dns", "http_client", "http_server", "http_fields",
    "files", "proxy", "workers", "cli", "testing",
]  # fmt: skip
#: Written for speed, with each argument by itself.
SPELLED_OUT = {"EventEmitter.emit"}
HEADINGS = ["Class", "Methods", "Events", "Errors", "Limits"]


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path) -> list[thor_documentation.Block]:
    return thor_documentation.read_blocks(page)


@pytest.mark.deadline_s(150)
@pytest.mark.parametrize("page", [p for p in PAGES if blocks_of(p)], ids=name_of)
def test_every_block_of_the_page_runs(page: Path) -> None:
    paths = os.pathsep.join([str(ROOT), str(ROOT / "test/support")])
    process = subprocess.Popen(
        [sys.executable, "-m", "thor_documentation", str(page)],
        env={**os.environ, "PYTHONPATH": paths},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        printed, _ = process.communicate(timeout=120)
    finally:
        thor_support.end_session(process)
        process.communicate()
    assert process.returncode == 0, printed


#: What hidden blocks need to send requests and to look at the answers.
FOR_CHECKS = {"os", "pathlib", "signal", "socket", "ssl", "thor_documentation"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_blocks_of_a_page_are_complete_and_in_the_open(page: Path) -> None:
    blocks = blocks_of(page)
    # Every block names its language, and Python always runs.
    assert {block.language for block in blocks} <= {"python", "console", "text", "toml", "http"}
    assert [block for block in blocks if block.language == "python" and not block.runs] == []
    plain = [line for line in page.read_text().splitlines() if re.search(r"(?<!:)::$", line)]
    assert [line for line in plain if not line.lstrip().startswith("..")] == []
    # Every file is run or imported.
    named = {
        block.file for block in blocks if thor_documentation.is_pasted(block) and block.is_named
    }
    commands = "".join(block.text for block in blocks if block.language == "console")
    sources = "".join(block.text for block in blocks if block.language == "python")
    imported = set(re.findall(r"\b(?:import|from) (\w+)", commands + sources))
    used = {f"{name}.py" for name in imported} | set(re.findall(r"python (\w+\.py)", commands))
    assert named - used == set()
    # Hidden blocks make nothing that the programs need.
    hidden = "".join(block.text for block in blocks if block.hidden)
    assert set(re.findall(r"^(?:import|from) (\w+)", hidden, flags=re.M)) <= FOR_CHECKS
    assert re.findall(r"create_server|listen|mkdir|write_|\"[wa]b?\"", hidden) == []


# -- links ---------------------------------------------------------------------------------------


def test_links_of_the_readme_lead_to_files() -> None:
    text = (ROOT / "README.rst").read_text()
    targets = re.findall(r"<([^>\s]+)>`__?|^\.\. _[^:]+: (\S+)$", text, flags=re.M)
    local = [t for pair in targets for t in pair if t and "://" not in t]
    assert local
    assert [target for target in local if not (ROOT / target).exists()] == []


def test_links_between_pages_lead_to_pages() -> None:
    missing = []
    for page in PAGES[1:]:
        text = page.read_text()
        targets = re.findall(r":doc:`(?:[^`<]*<)?([^`>]+)>?`", text)
        targets += [entry for tree in _toctrees(text) for entry in tree]
        missing += [(name_of(page), t) for t in targets if not _page_at(page, t).is_file()]
    assert missing == []


def _page_at(page: Path, target: str) -> Path:
    base = DOC if target.startswith("/") else page.parent
    return base / f"{target.lstrip('/')}.rst"


def _toctrees(text: str) -> list[list[str]]:
    trees = re.findall(r"^\.\. toctree::\n((?:[ ]+.*\n|\n)+)", text + "\n", flags=re.M)
    return [
        [line.strip() for line in tree.splitlines() if line.strip() and ":" not in line]
        for tree in trees
    ]


def test_every_page_is_in_a_table_of_contents() -> None:
    listed = {
        _page_at(page, entry).resolve()
        for page in PAGES[1:]
        for tree in _toctrees(page.read_text())
        for entry in tree
    }
    assert [name_of(p) for p in PAGES[1:] if p != DOC / "index.rst" and p not in listed] == []


# -- the pages of the modules --------------------------------------------------------------------


def test_pages_of_modules_have_the_same_headings() -> None:
    for name in MODULE_PAGES:
        lines = (DOC / f"{name}.rst").read_text().splitlines()
        found = [a for a, b in pairwise(lines) if a and re.fullmatch(r"-+", b)]
        assert found == HEADINGS, name


# -- what the pages say about the code ------------------------------------------------------------


def test_every_error_is_listed_with_its_meaning_and_status() -> None:
    text = (DOC / "http_fields.rst").read_text()
    listed = re.findall(
        r"^   \* - ((?:· )*)``(\w+Error)``\n     - (.*)\n     - (.*)$", text, flags=re.M
    )

    def rows(parent: type[HttpError], depth: int) -> Iterator[tuple[str, str, str, str]]:
        for child in parent.__subclasses__():
            status = child.server_status[0].decode() if child.server_status else "none"
            yield "· " * depth, child.__name__, child.desc, status
            yield from rows(child, depth + 1)

    assert listed == list(rows(HttpError, 0))


@pytest.mark.parametrize(
    ("page", "owner"),
    [
        pytest.param("http_server", thor.http.HttpServer, id="server"),
        pytest.param("http_client", thor.http.HttpClient, id="client"),
    ],
)
def test_every_setting_is_listed_with_its_default(page: str, owner: type) -> None:
    text = (DOC / f"{page}.rst").read_text()
    listed = dict(
        re.findall(r"^      \* - ``(\w+)``\n        - (?:``)?([^`\n]+)(?:``)?$", text, flags=re.M)
    )
    settings = {
        name: value
        for name, value in vars(owner).items()
        if not name.startswith("_")
        and name != "emits"
        and not isinstance(value, property)
        and not isroutine(value)
    }
    shown = {name: getattr(v, "__name__", None) or repr(v) for name, v in settings.items()}
    assert {name: value.replace('"', "'") for name, value in listed.items()} == shown


def documented(page: str) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield what a page of a module describes: (kind, module, class or "", name, signature)."""
    module = owner = ""
    for line in (DOC / f"{page}.rst").read_text().splitlines():
        found = re.match(r"( *)\.\. py:(\w+):: ([\w.]+)(\(.*\))?$", line)
        if not found:
            continue
        indent, kind, name, signature = found.groups()
        if kind in ("module", "currentmodule"):
            module = name
        elif kind in ("class", "exception"):
            owner = name
        assert indent or kind != "attribute", f"{page}: {name} stands in no class"
        yield kind, module, owner, name, signature or ""


@pytest.mark.parametrize("page", MODULE_PAGES)
def test_documented_signatures_are_those_of_the_code(page: str) -> None:
    for _, module, _, name, signature in documented(page):
        if not signature or "..." in signature or name in SPELLED_OUT:
            continue
        value: Any = importlib.import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
        stated = ast.parse(f"def f{signature}: pass").body[0]
        assert isinstance(stated, ast.FunctionDef)
        parameters = list(inspect.signature(value).parameters.values())
        if "." in name and inspect.isfunction(value):
            parameters = parameters[1:]
        names = [STARS.get(p.kind, "") + p.name for p in parameters]
        assert names == _names(stated.args), f"{module}.{name}"


#: What stands before a parameter that takes several arguments.
STARS: dict[Any, str] = {Parameter.VAR_POSITIONAL: "*", Parameter.VAR_KEYWORD: "**"}


def _names(args: ast.arguments) -> list[str]:
    rest = [f"*{args.vararg.arg}"] if args.vararg else []
    more = [f"**{args.kwarg.arg}"] if args.kwarg else []
    return [arg.arg for arg in args.args] + rest + [arg.arg for arg in args.kwonlyargs] + more


@pytest.mark.parametrize("page", MODULE_PAGES)
def test_documented_attributes_are_there(page: str) -> None:
    for kind, module, owner, name, _ in documented(page):
        if kind != "attribute":
            continue
        cls = getattr(importlib.import_module(module), owner)
        sources = [inspect.getsource(base) for base in cls.__mro__ if base.__module__[:4] == "thor"]
        # As a class variable or a property, or as what an instance is given: by itself, or as one
        # of several that the class declares.
        given = rf"self\.{name}\b(.* = |: )|^    {name}: .*^ +self\.(\w+, self\.)*{name}, "
        found = hasattr(cls, name) or any(re.search(given, s, re.M | re.S) for s in sources)
        assert found, f"{module}.{owner}.{name}"


def test_every_option_of_the_command_is_described() -> None:
    text = (DOC / "cli.rst").read_text()
    [commands] = [a for a in make_parser()._actions if isinstance(a.choices, dict)]
    assert isinstance(commands.choices, dict)
    for command, parser in commands.choices.items():
        section = re.search(rf"^``thor {command}.*``\n~+\n((?:.*\n)*?)(?=^``|^Events)", text, re.M)
        assert section, command
        described = set(re.findall(r"``(--?[\w-]+)(?: \w[\w:]*)?``", section[1]))
        options = {option for action in parser._actions for option in action.option_strings}
        assert described == options - {"-h", "--help"}, command


@pytest.mark.parametrize(
    ("page", "emitters"),
    [
        pytest.param("events", [thor.events.EventEmitter], id="events"),
        pytest.param("loop", [thor.loop.EventLoop, thor.loop.EventSource], id="loop"),
        pytest.param("tcp", [thor.TcpClient, thor.TcpServer, thor.tcp.TcpConnection], id="tcp"),
        pytest.param("tls", [thor.TlsClient, thor.TlsServer, thor.tls.TlsAcceptance], id="tls"),
        pytest.param("udp", [thor.UdpEndpoint], id="udp"),
        pytest.param("http_client", [thor.http.client.HttpClientExchange], id="http_client"),
        pytest.param(
            "http_server", [thor.http.HttpServer, thor.http.HttpServerExchange], id="http_server"
        ),
        pytest.param("proxy", [thor.proxy.ReverseProxy], id="proxy"),
        pytest.param("workers", [thor.workers.Supervisor], id="workers"),
    ],
)
def test_every_event_is_described(page: str, emitters: list[type]) -> None:
    text = (DOC / f"{page}.rst").read_text().partition("\nEvents\n-")[2].partition("\nErrors\n-")[0]
    described = set(re.findall(r"``(\w+)\([^`]*\)``", text))
    emitted: set[str] = set()
    for emitter in emitters:
        lines = (inspect.getdoc(emitter) or "").partition("Emits")[2]
        emitted |= {
            name
            for line in re.findall(r"^ {4}((?:\w+\([^)]*\)(?:, )?)+):", lines, flags=re.M)
            for name in re.findall(r"(\w+)\(", line)
        }
    assert emitted
    assert emitted <= described
