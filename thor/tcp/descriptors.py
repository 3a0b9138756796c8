"""How many connections the descriptors of this process suffice for.

Owns: the arithmetic. Must not know servers, nor what is done when there are no more.

Theory of operation: a connection will need descriptors that are not open when it is accepted: a
proxy's connection to the upstream, a file. So a connection is counted with all that it may need,
whether they are open or not. Other fds of the loop count where they are more than the connections
may need, since most of them belong to connections. A reserve is kept for what the loop does not
watch: standard streams, logs, its own, what threads open for a moment, pipes.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thor.loop import EventLoop


def reserved_fds(limit: int) -> int:
    """Return the reserve: 16 descriptors, and a sixteenth of the limit, up to 128 more."""
    return 16 + min(limit // 16, 128)


def has_room(loop: EventLoop, connections: int, each: int) -> bool:
    """Return whether one more connection can be accepted; the first one always can.

    connections: how many there are; each: how many descriptors one may need in all
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not connections or limit == resource.RLIM_INFINITY:
        return True
    others = max(loop.fd_count() - connections, (each - 1) * connections)
    return connections + others + each + reserved_fds(limit) <= limit
