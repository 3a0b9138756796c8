"""Running the servers of a command until a signal stops them: in this process, or in workers.

Owns: `--workers`, and the messages about workers. Must not know any command, nor what its servers
serve.

Theory of operation: with one worker there is only this process. With more, this process opens all
listening sockets and reads all files, then forks: so an error is reported once, before anything is
served, and the workers share the keys of TLS session tickets. Each worker makes the command's
servers on its own sockets, and on the command's loop, which discards its state in a forked process.

Ctrl-C sends SIGINT to every process of the terminal. Workers ignore it; this process tells them to
shut down, and writes the only message. Shared memory has whether it was Ctrl-C, and how many
connections each worker still has.
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
    describe_address,
    listen_addresses_of,
    listen_all,
    listen_errors,
)
from thor.tcp import WorkerSockets
from thor.workers import Supervisor

if TYPE_CHECKING:
    import socket

    from thor.cli.access_log import AccessLog
    from thor.cli.listen import Server
    from thor.loop import LoopBase
    from thor.workers import Worker

#: How much longer than `--drain` this process waits for workers, in seconds: they stop themselves
#: after `--drain`, unless they hang.
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
    """Serve until a signal says to stop.

    make: makes a server on the loop: `make(host, port, **settings)`
    announce: returns the message at the start, given the addresses that it listens on
    log: the access log of the servers, which is closed at the end
    Returns: the exit code
    Raises: CommandError
    """
    if args.workers > 1:
        return _WorkerGroup(args, loop, make, log).run(announce)
    servers, where = listen_all(args, loop, make)
    # Written once signals are handled: a reader of the message may send one.
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
        """Open the listening sockets. Raises: CommandError"""
        self._args = args
        self._loop = loop
        self._make = make
        self._log = log
        self._reports = _ShutdownReports(args.workers)
        self._code = DONE
        self._addresses = addresses = listen_addresses_of(args)
        self._sockets = worker_sockets = WorkerSockets(args.workers)
        try:
            for (host, port), mode in addresses.addresses:
                with listen_errors((host, port)):
                    worker_sockets.open(host, port, mode=mode)
            for sock in addresses.sockets:
                with listen_errors(sock.getsockname()):
                    worker_sockets.share(sock)
        except CommandError:
            worker_sockets.close()
            raise

    def run(self, announce: Callable[[str], str]) -> int:
        """Serve until a signal says to stop. Returns: the exit code"""
        args, loop = self._args, self._loop
        supervisor = Supervisor(self._run_worker, args.workers, loop)
        supervisor.on("worker_started", _log_start)
        supervisor.on("worker_failed", _log_failure)
        supervisor.on("worker_ended", self._on_worker_ended)
        supervisor.on("stop", loop.stop)

        def stop() -> None:
            # Each worker closes its own copies.
            self._sockets.close()
            supervisor.graceful_shutdown()

        def interrupt() -> None:
            self._reports.interrupt()
            stop()
            loop.schedule(REPORT_DELAY_S, self._report, REPORT_ROUNDS)

        secure = "tls" in self._addresses.settings
        where = ", ".join(describe_address(address, secure) for address in self._sockets.addresses)
        loop.schedule(0, log_stderr, announce(where))
        try:
            drain_s = args.drain + GRACE_S
            GracefulRunner(loop, stop, drain_s, "workers that hang", interrupt).run()
        finally:
            self._sockets.close()
        return self._code

    def _run_worker(self, worker: Worker) -> int:
        """Serve in a worker until the supervisor says to stop. Returns: the exit code"""
        loop = self._loop
        try:
            servers = Servers(
                [self._serve_on(sock) for sock in self._sockets.take(worker.number)], loop
            )
        except CommandError as exc:
            log_stderr(f"thor: worker {worker.number}: {exc}")
            return FAILED

        def stop() -> None:
            if self._reports.interrupted:
                servers.interrupt(lambda count: self._reports.report(worker.number, count))
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
        with listen_errors(sock.getsockname()):
            return self._make(None, None, sock=sock, **self._addresses.settings)

    def _report(self, rounds: int) -> None:
        """Write how many connections are left, once all workers have reported.

        rounds: how often to look again; a worker that hangs never reports
        """
        if rounds and not self._reports.is_complete:
            self._loop.schedule(REPORT_DELAY_S, self._report, rounds - 1)
        else:
            log_draining(self._reports.connection_count)

    def _on_worker_ended(self, number: int, pid: int, status: int, delay_s: float | None) -> None:
        self._reports.report(number, 0)
        if delay_s is None and status == -signal.SIGTERM:
            status = 0  # SIGTERM came before it had a handler
        if delay_s is None and status:
            self._code = FAILED
        log_stderr(
            f"thor: worker {number} ({pid}) {describe_exit(status)}{describe_restart(delay_s)}"
        )


class _ShutdownReports:
    """What the supervisor and its workers report to each other about the shutdown."""

    def __init__(self, workers: int) -> None:
        # Whether it was Ctrl-C; then for each worker its connections plus 1, or 0: not reported.
        self._cells = memoryview(mmap.mmap(-1, 4 * (workers + 1))).cast("I")

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ends the workers."""
        return self._cells[0] != 0

    def interrupt(self) -> None:
        """Note that it was Ctrl-C, and discard the reports of earlier workers."""
        for number in range(1, len(self._cells)):
            self._cells[number] = 0
        self._cells[0] = 1

    def report(self, number: int, count: int) -> None:
        """Report how many connections a worker waits for."""
        self._cells[number] = count + 1

    @property
    def is_complete(self) -> bool:
        """Whether all workers have reported."""
        return all(self._cells[1:])

    @property
    def connection_count(self) -> int:
        """How many connections the workers that have reported wait for."""
        return sum(cell - 1 for cell in self._cells[1:] if cell)


def _log_start(number: int, pid: int) -> None:
    log_stderr(f"thor: worker {number} ({pid}) started")


def _log_failure(number: int, error: OSError, delay_s: float) -> None:
    log_stderr(
        f"thor: worker {number} cannot be started: {error.strerror}{describe_restart(delay_s)}"
    )


def describe_exit(status: int) -> str:
    """Return a message about the end of a process. status: as in `subprocess`"""
    if status < 0:
        return f"was ended by signal {-status} ({signal.strsignal(-status)})"
    return f"failed with {status}" if status else "ended"


def describe_restart(delay_s: float | None) -> str:
    """Return the end of the message: when the next worker starts; empty for None."""
    if delay_s is None:
        return ""
    return f"; another one starts in {delay_s:g} s" if delay_s else "; another one starts"
