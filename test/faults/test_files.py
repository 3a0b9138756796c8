"""Static files, when threads, the disk or the connection go wrong."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
from faults_programs import GET, http_server
from faults_sweep import noticing, sweep
from faults_world import World

import thor.files.disk
import thor.files.serving
import thor.tcp.sendfile
from thor.files import StaticFiles

#: What of the system's calls is counted.
CALLS = ("open", "stat", "fstat", "pread", "preadv", "scandir")


class _Disk(ModuleType):
    """The module `os`, with calls that can fail, and a count of what is open."""

    def __init__(self, world: World) -> None:
        ModuleType.__init__(self, "os")
        self.world = world
        self.fds: set[int] = set()

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CALLS:
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            does = self.world.kernel.enter(name)
            result = real(*args, **kwargs)
            if name == "open":
                self.fds.add(result)
            return result if does is None else result[:1]

        return call

    def close(self, fd: int) -> None:
        self.fds.discard(fd)
        os.close(fd)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("site")
    (root / "folder").mkdir()
    (root / "large").write_bytes(b"x" * 3000)
    return root


@contextmanager
def disk(world: World) -> Iterator[None]:
    """In the block, the calls to the disk are counted; afterwards, all is closed."""
    shim = _Disk(world)
    with (
        patch.object(thor.files.disk, "os", shim),
        patch.object(thor.files.disk, "FILE_PIECE_BYTES", 1000),
        patch.object(thor.files.disk, "_NO_WAIT", 0),  # all is in memory
        patch.object(thor.files.serving, "WINDOW_BYTES", 1000),
    ):
        yield
    if shim.fds:
        world.wrong.append(f"{len(shim.fds)} files are open")
        for fd in shim.fds:
            os.close(fd)


def download(world: World, root: Path) -> None:
    """A file in pieces, a directory, and what there is not."""

    def met(exchange: Any) -> None:
        world.watch("exchange", exchange)
        files(exchange)

    files = StaticFiles(root, listing=True)
    world.kernel.buffer_bytes = 1200
    server = http_server(world, met)
    peer = world.peer(speaks="http")
    world.advance(1)
    for path in (b"/large", b"/folder/", b"/nothing"):
        peer.send(GET.replace(b"/ ", path + b" ", 1))
        world.advance(1)
    world.advance(100)
    server.shutdown()
    world.advance(100)


def test_fault_at_any_call_ends_a_download_once(site: Path) -> None:
    @noticing("wall")  # no file was changed after its answer
    def scenario(world: World) -> None:
        with disk(world):
            download(world, site)

    sweep(scenario)


@pytest.mark.parametrize("in_memory", [True, False])
def test_fault_at_any_call_ends_a_download_without_sendfile_once(
    site: Path, in_memory: bool
) -> None:
    @noticing("wall")
    def scenario(world: World) -> None:
        no_wait = 0 if in_memory else None
        with (
            disk(world),
            patch.object(thor.files.disk, "_NO_WAIT", no_wait),
            patch.object(thor.tcp.sendfile, "_HAS_SENDFILE", False),
        ):
            download(world, site)

    sweep(scenario, ("disk", "sendfile", "names", "send", "listeners that end"))
