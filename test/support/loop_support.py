"""What the tests of the loop share."""

from __future__ import annotations

from collections.abc import Callable

from thor.loop import EventSource, LoopBase
from thor.loop.poller import READABLE
from thor.testing import MemoryPoller


def ready_source(
    loop: LoopBase, listener: Callable[[], object], bits: int = READABLE
) -> EventSource:
    """A source of a memory loop that is readable for ever."""
    loop.fds.open()
    assert isinstance(loop.fds.poller, MemoryPoller)
    source = EventSource(loop)
    source.register_fd(loop.fds.poller.add(lambda: bits), "fd_readable")
    source.on("fd_readable", listener)
    return source
