"""How many connections the descriptors of this process are enough for.

Owns: the arithmetic. Must not know servers, nor what is done when there are no more.

Theory of operation: what a connection will need is not there yet when it is accepted: a proxy's
connection to the upstream, a file. So a connection is counted with all that it may need, and it is
of no matter whether it has that already. What else the loop watches counts where it is more than
what the connections may need, since most of it is just that. A reserve is kept for what the loop
does not watch: standard streams, logs, the loop's own, what threads open for a moment, pipes.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from thor.loop import EventLoop


def reserved_fds(limit: int) -> int:
    """Return how many descriptors are kept for what the loop does not watch: 16, and a sixteenth
    of the limit, up to 128 more."""
    return 16 + min(limit // 16, 128)


def has_room(loop: EventLoop, connections: int, each: int) -> bool:
    """Return whether one more connection can be accepted; where there is none, it always can.

    connections: how many there are; each: how many descriptors one may need in all
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not connections or limit == resource.RLIM_INFINITY:
        return True
    others = max(loop.fd_count() - connections, (each - 1) * connections)
    return connections + others + each + reserved_fds(limit) <= limit
