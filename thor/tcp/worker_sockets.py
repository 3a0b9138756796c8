"""Listening sockets for several processes that do the same work.

Owns: for each address one socket per process, and when they are closed. Must not know processes,
loops or servers.

Theory of operation: one process opens all of them, keeps them, and forks; each child takes those
of its slot. Connections wait in the queue of a socket, and are lost when the last process that has
it closes it: so when a child dies, its queue is left for the next child in its slot.

On Linux the sockets of an address are bound with SO_REUSEPORT, and the kernel spreads connections
over them by a hash of their addresses, regardless of load. Elsewhere the option distributes
nothing, and a Unix socket, or an inherited one, is single anyway: it is the same in all slots then,
and the first process to accept gets the connection.

With SO_REUSEPORT alone a program that is started twice by mistake would share its port with itself.
The first socket of an address is therefore bound without it, which fails if anybody listens there,
and gets it afterwards.
"""

from __future__ import annotations

import socket
import sys

from thor.tcp.address import unix_path
from thor.tcp.listening import BACKLOG, open_beside, open_listening
from thor.tcp.socket_activation import listen_on
from thor.tcp.socketfile import SocketFile
from thor.types import Address

#: Whether the kernel spreads connections over the sockets of one port.
REUSEPORT_BALANCES = sys.platform.startswith("linux")


class WorkerSockets:
    """The listening sockets of `count` processes.

    addresses: where they listen, one for each `open` and `share`: the first, where it has several
    """

    def __init__(self, count: int) -> None:
        """Open nothing yet. Raises: ValueError if `count` is not 1 or more"""
        if count < 1:
            raise ValueError(f"count is {count!r}; it must be 1 or more")
        self.addresses: list[Address] = []
        self._count = count
        #: For each address, the sockets of the slots in order.
        self._rows: list[list[socket.socket]] = []
        self._files: list[SocketFile] = []

    def open(
        self,
        host: str | bytes | None,
        port: int | str | None,
        *,
        backlog: int | None = None,
        mode: int | None = None,
    ) -> Address:
        """Listen on an address; the arguments are those of a `TcpServer`.

        Returns: the address, with the port that it got
        Raises: OSError, if the port is in use for example; ValueError, TypeError
        """
        opened = open_listening(host, port, backlog=backlog, mode=mode)
        path = unix_path(host)
        if path is not None:
            self._files.append(SocketFile(path))
        rows = [[sock] for sock in opened]
        try:
            for row in rows:
                self._fill(row, backlog, shared=path is not None or not REUSEPORT_BALANCES)
        except BaseException:
            _close(rows)
            raise
        return self._add(rows)

    def share(self, sock: socket.socket) -> Address:
        """Listen on a bound stream socket of another process: the same in all slots.

        Returns: its address
        Raises: ValueError if it is no stream socket, OSError
        """
        return self._add([[listen_on(sock, BACKLOG)] * self._count])

    def _fill(self, row: list[socket.socket], backlog: int | None, *, shared: bool) -> None:
        first = row[0]
        if shared:
            row *= self._count
            return
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        while len(row) < self._count:
            row.append(open_beside(first, BACKLOG if backlog is None else backlog))

    def _add(self, rows: list[list[socket.socket]]) -> Address:
        self._rows += rows
        address: Address = rows[0][0].getsockname()
        self.addresses.append(address)
        return address

    def take(self, number: int) -> list[socket.socket]:
        """Return the sockets of slot `number` (1 is the first), in the process of that slot.

        The caller owns them from now on. Those of the other slots are closed in this process.
        """
        mine = [row.pop(number - 1) for row in self._rows]
        rows, self._rows = self._rows, []
        _close([[sock for sock in row if sock not in mine] for row in rows])
        return mine

    def close(self) -> None:
        """Close the sockets, and remove the files of Unix sockets if this process made them.

        What waits in their queues is lost, unless other processes have them too.
        """
        rows, self._rows = self._rows, []
        _close(rows)
        files, self._files = self._files, []
        for file in files:
            file.remove()


#: The name that `WorkerSockets` had before.
ListeningSlots = WorkerSockets


def _close(rows: list[list[socket.socket]]) -> None:
    for row in rows:
        for sock in row:
            sock.close()
