"""How a command serves until it is told to stop: in this process, or in several.

Owns: `--workers`, and what is said about workers. Must not know any command, nor what its servers
serve.

Theory of operation: with one worker there is nothing but this process. With more of them, this one
opens all that is listened on and reads all files that are needed, then forks: so what is wrong is
said once, before anything is served, and workers share the keys of TLS's session tickets. Each
worker makes the command's servers on the sockets of its slot, and on the command's loop, which
begins anew in a forked process.

Ctrl-C reaches every process at a terminal; workers ignore it, and hear of it from this process,
which alone has something to say: whether it was Ctrl-C, and how many connections each worker waits
for, is in memory that all of them share.
"""

from __future__ import annotations

import argparse
import mmap
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING

from thor.cli.common import DONE, FAILED, CommandError, GracefulRunner, log_draining, log_stderr
from thor.cli.listen import (
    REPORT_DELAY_S,
    Servers,
    listen_addresses_of,
    listen_all,
    listening,
    place,
)
from thor.tcp import WorkerSockets
from thor.workers import Supervisor

if TYPE_CHECKING:
    import socket

    from thor.cli.access_log import AccessLog
    from thor.cli.listen import Server
    from thor.loop import LoopBase
    from thor.workers import Worker

#: How much longer than `--drain` workers may take to end, in seconds: they see to that themselves,
#: unless they hang.
GRACE_S = 5.0
#: How often it is checked after Ctrl-C whether all workers have reported, `REPORT_DELAY_S` apart.
REPORT_ROUNDS = 10


def serve_forever(
    args: argparse.Namespace,
    loop: LoopBase,
    make: Callable[..., Server],
    announce: Callable[[str], str],
    log: AccessLog | None,
) -> int:
    """Serve until told to stop.

    make: makes a server on the loop: `make(host, port, **settings)`
    announce: what to tell the user, given where it listens
    log: what the servers write, which is closed at the end
    Returns: the exit code
    Raises: CommandError
    """
    if args.workers > 1:
        return _WorkerGroup(args, loop, make, log).run(announce)
    servers, where = listen_all(args, loop, make)
    # Said once signals are heard: who reads it may send one.
    loop.schedule(0, log_stderr, announce(where))
    try:
        GracefulRunner(
            loop,
            servers.graceful_shutdown,
            args.drain,
            interrupt=lambda: servers.interrupt(log_draining),
        ).run()
    finally:
        if log is not None:
            log.close()
    return DONE


class _WorkerGroup:
    """The workers of a command."""

    def __init__(
        self,
        args: argparse.Namespace,
        loop: LoopBase,
        make: Callable[..., Server],
        log: AccessLog | None,
    ) -> None:
        """Open what is listened on. Raises: CommandError"""
        self._args = args
        self._loop = loop
        self._make = make
        self._log = log
        self._board = _Board(args.workers)
        self._code = DONE
        self._places = places = listen_addresses_of(args)
        self._slots = slots = WorkerSockets(args.workers)
        try:
            for (host, port), mode in places.addresses:
                with listening((host, port)):
                    slots.open(host, port, mode=mode)
            for sock in places.sockets:
                with listening(sock.getsockname()):
                    slots.share(sock)
        except CommandError:
            slots.close()
            raise

    def run(self, announce: Callable[[str], str]) -> int:
        """Serve until told to stop. Returns: the exit code"""
        args, loop = self._args, self._loop
        supervisor = Supervisor(self._work, args.workers, loop)
        supervisor.on("worker_started", _tell_start)
        supervisor.on("worker_failed", _tell_failure)
        supervisor.on("worker_ended", self._ended)
        supervisor.on("stop", loop.stop)

        def stop() -> None:
            # What workers still have is closed when they close it.
            self._slots.close()
            supervisor.graceful_shutdown()

        def interrupt() -> None:
            self._board.interrupt()
            stop()
            loop.schedule(REPORT_DELAY_S, self._report, REPORT_ROUNDS)

        secure = "tls" in self._places.settings
        where = ", ".join(place(address, secure) for address in self._slots.addresses)
        loop.schedule(0, log_stderr, announce(where))
        try:
            hang = "workers that hang"
            GracefulRunner(loop, stop, args.drain + GRACE_S, hang, interrupt).run()
        finally:
            self._slots.close()
        return self._code

    def _work(self, worker: Worker) -> int:
        """In a worker: serve until told to stop."""
        loop = self._loop
        try:
            servers = Servers(
                [self._serve_on(sock) for sock in self._slots.take(worker.number)], loop
            )
        except CommandError as exc:
            log_stderr(f"thor: worker {worker.number}: {exc}")
            return FAILED

        def stop() -> None:
            if self._board.interrupted:
                servers.interrupt(lambda count: self._board.report(worker.number, count))
            else:
                servers.graceful_shutdown()

        worker.on_shutdown(GracefulRunner(loop, stop, self._args.drain).stop, loop)
        try:
            loop.run()
        finally:
            if self._log is not None:
                self._log.close()
        return DONE

    def _serve_on(self, sock: socket.socket) -> Server:
        with listening(sock.getsockname()):
            return self._make(None, None, sock=sock, **self._places.settings)

    def _report(self, rounds: int) -> None:
        """Tell what is waited for, when all workers know; one that hangs never does."""
        if rounds and not self._board.is_complete:
            self._loop.schedule(REPORT_DELAY_S, self._report, rounds - 1)
        else:
            log_draining(self._board.connection_count)

    def _ended(self, number: int, pid: int, status: int, delay_s: float | None) -> None:
        self._board.report(number, 0)
        if delay_s is None and status == -signal.SIGTERM:
            status = 0  # told before it had begun
        if delay_s is None and status:
            self._code = FAILED
        log_stderr(
            f"thor: worker {number} ({pid}) {describe_exit(status)}{describe_restart(delay_s)}"
        )


class _Board:
    """What workers and the process that looks after them let each other know of the end."""

    def __init__(self, workers: int) -> None:
        # Whether it was Ctrl-C, then for each worker its connections and 1, or 0: not known yet.
        self._cells = memoryview(mmap.mmap(-1, 4 * (workers + 1))).cast("I")

    @property
    def interrupted(self) -> bool:
        """Whether it is Ctrl-C that ends the workers."""
        return self._cells[0] != 0

    def interrupt(self) -> None:
        """Note that it is; what was reported of earlier workers is of no concern."""
        for number in range(1, len(self._cells)):
            self._cells[number] = 0
        self._cells[0] = 1

    def report(self, number: int, count: int) -> None:
        """Note how many connections a worker waits for."""
        self._cells[number] = count + 1

    @property
    def is_complete(self) -> bool:
        """Whether all workers have reported."""
        return all(self._cells[1:])

    @property
    def connection_count(self) -> int:
        """How many connections are waited for, as far as is known."""
        return sum(cell - 1 for cell in self._cells[1:] if cell)


def _tell_start(number: int, pid: int) -> None:
    log_stderr(f"thor: worker {number} ({pid}) started")


def _tell_failure(number: int, error: OSError, delay_s: float) -> None:
    log_stderr(
        f"thor: worker {number} cannot be started: {error.strerror}{describe_restart(delay_s)}"
    )


def describe_exit(status: int) -> str:
    """Return what became of a process, for people. status: as `subprocess` has it"""
    if status < 0:
        return f"was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"failed with {status}" if status else "ended"


def describe_restart(delay_s: float | None) -> str:
    """When there is another worker, for people; None: there is none."""
    if delay_s is None:
        return ""
    return f"; another one starts in {delay_s:g} s" if delay_s else "; another one starts"
