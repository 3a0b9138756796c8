"""Serving in several processes: `--workers`."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from cli_support import LIMIT_S, Running, complains, here, running
from tls_support import authority, issued

from thor import workers
from thor.cli import common, serving
from thor.cli.serving import describe_exit, describe_restart

ANYWHERE = ("--listen", "127.0.0.1:0")
REQUEST = b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n"

has_proc = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="no /proc")


@pytest.fixture
def site(tmp_path: Path) -> str:
    """A directory to serve."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "a.txt").write_text("hello\n")
    return str(tmp_path / "www")


class Crew:
    """A command that serves in several processes."""

    def __init__(self, command: Running, count: int) -> None:
        self.command = command
        self.address = (command.host, command.port)
        #: The workers by their numbers.
        self.pids = dict(self.started() for _ in range(count))

    def line(self) -> str:
        """The next line that it says."""
        assert self.command.process.stderr is not None
        return self.command.process.stderr.readline().decode().rstrip("\n")

    def started(self) -> tuple[int, int]:
        """The number and process of a worker, of which the next line tells that it has started."""
        line = self.line()
        found = re.fullmatch(r"thor: worker (\d) \((\d+)\) started", line)
        assert found, line
        return int(found[1]), int(found[2])

    def end(self) -> tuple[int, set[str]]:
        """Wait for its end. Returns: the status, and the lines that it said before"""
        lines = set(iter(self.line, ""))
        return self.command.process.wait(LIMIT_S), lines

    def connect(self) -> socket.socket:
        return socket.create_connection(self.address, LIMIT_S)

    def ask(self, stack: ExitStack) -> socket.socket:
        """Make a connection that is kept, with an answer."""
        sock = stack.enter_context(self.connect())
        assert answer(sock)
        return sock

    def await_refusal(self) -> None:
        """Wait until nothing is accepted any more."""
        while True:
            try:
                self.connect().close()
            except ConnectionError:
                return


@contextmanager
def crew(*args: str, count: int = 2, **popen: Any) -> Iterator[Crew]:
    with running(*args, "--workers", str(count), **popen) as command:
        yield Crew(command, count)


def answer(sock: socket.socket) -> bool:
    """Ask for a file, and return whether it has come; not if the connection is lost."""
    try:
        sock.sendall(REQUEST)
        return read_answer(sock)
    except ConnectionError:
        return False


def read_answer(sock: socket.socket) -> bool:
    received = b""
    while not received.endswith(b"\r\n\r\nhello\n"):
        chunk = sock.recv(65536)
        if not chunk:
            return False
        received += chunk
    return received.startswith(b"HTTP/1.1 200 OK\r\n")


def sockets_of(pid: int) -> int:
    """How many sockets a process has."""
    found = [os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")]
    return sum(target.startswith("socket:") for target in found)


def shares_of(two: Crew, count: int) -> tuple[int, int]:
    """How many of `count` connections are those of each worker."""
    first, second = (sockets_of(two.pids[number]) for number in (1, 2))
    idle = (first + second - count) // 2  # what both have without any
    return first - idle, second - idle


def freeze(pid: int) -> None:
    """Have a process do nothing more; returns when that is so."""
    os.kill(pid, signal.SIGSTOP)
    while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        pass


@contextmanager
def watched(*pids: int) -> Iterator[Callable[[], None]]:
    """Called, what is made waits until these processes have ended, which run now."""
    fds = [os.pidfd_open(pid) for pid in pids]
    left = set(fds)

    def wait() -> None:
        while left:
            ended = select.select(left, [], [], LIMIT_S)[0]
            assert ended, "a process goes on"
            left.difference_update(ended)

    yield wait
    for fd in fds:
        os.close(fd)


# -- serving --------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_workers_serve_until_a_signal(site: str, number: int) -> None:
    with crew("serve", site, *ANYWHERE, count=3) as three, ExitStack() as stack:
        assert three.command.said == f"thor: serving {site} on {three.command.url}/\n"
        assert sorted(three.pids) == [1, 2, 3]
        for _ in range(8):
            three.ask(stack)
        three.command.signal(number)
        stack.close()
        ended = {f"thor: worker {number} ({pid}) ended" for number, pid in three.pids.items()}
        assert three.end() == (0, ended)


@has_proc
@pytest.mark.skipif(sys.platform != "linux", reason="the kernel spreads nothing over sockets")
def test_each_of_two_workers_has_its_share_of_the_connections(site: str) -> None:
    with crew("serve", site, *ANYWHERE) as two, ExitStack() as stack:
        kept = [two.ask(stack) for _ in range(400)]
        shares = shares_of(two, len(kept))
    assert sum(shares) == 400
    assert all(140 <= share <= 260 for share in shares)


def test_unix_socket_and_every_interface(site: str, tmp_path: Path) -> None:
    path = tmp_path / "s"
    places = ("--listen", f"unix:{path}", "--socket-mode", "600", "--listen", ":0")
    with crew("serve", site, *places) as two:
        [port] = re.findall(r"port (\d+) of every interface", two.command.said)
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))
            assert answer(sock)
        for host in ("127.0.0.1", "::1") if socket.has_ipv6 else ("127.0.0.1",):
            with socket.create_connection((host, int(port)), LIMIT_S) as sock:
                assert answer(sock)
        # A worker's end leaves the file, which is its successor's too.
        os.kill(two.pids[1], signal.SIGKILL)
        assert " was ended by signal 9 (Killed); another one starts in " in two.line()
        assert two.started()[0] == 1
        assert path.exists()
        two.command.signal(signal.SIGTERM)
        assert two.end()[0] == 0
    assert not path.exists()


_MANAGER = """
import os, sys
os.dup2({fd}, 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_socket_that_was_passed_is_that_of_all_workers(site: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        manager = (sys.executable, "-c", _MANAGER.format(fd=sock.fileno()))
        with crew("serve", site, before=manager, pass_fds=(sock.fileno(),)) as two:
            assert two.address == sock.getsockname()
            freeze(two.pids[1])
            with two.connect() as client:
                assert answer(client)
            os.kill(two.pids[1], signal.SIGKILL)
            assert two.line().startswith("thor: worker 1 ")
            two.command.signal(signal.SIGTERM)
            assert two.end()[0] == 0


def test_sessions_are_resumed_by_all_workers(site: str, tmp_path: Path) -> None:
    certificate, key = issued("localhost").write(tmp_path, "site")
    context = ssl.create_default_context(cadata=authority().certificate.decode())
    secure = ("--certificate", certificate, "--key", key)
    with crew("serve", site, *ANYWHERE, *secure) as two:

        def visit(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
            sock = two.connect()
            with context.wrap_socket(sock, server_hostname="localhost", session=session) as secured:
                assert answer(secured)
                return secured.session, secured.session_reused

        session, reused = visit(None)
        assert not reused
        assert all(visit(session)[1] for _ in range(20))
        two.command.signal(signal.SIGTERM)
        assert two.end()[0] == 0


# -- a worker ends --------------------------------------------------------------------------------


@has_proc
def test_killed_worker_is_replaced_and_nothing_else_is_lost(site: str) -> None:
    with crew("serve", site, *ANYWHERE) as two, ExitStack() as stack:
        kept = [two.ask(stack) for _ in range(40)]
        _, others = shares_of(two, len(kept))
        freeze(two.pids[1])
        waiting = [stack.enter_context(two.connect()) for _ in range(40)]
        for sock in waiting:
            sock.sendall(REQUEST)
        os.kill(two.pids[1], signal.SIGKILL)
        # Those of the other worker are served; those that came meanwhile are by the successor.
        assert sum(map(answer, kept)) == others
        assert all(map(read_answer, waiting))
        assert two.line() == (
            f"thor: worker 1 ({two.pids[1]}) was ended by signal 9 (Killed); "
            "another one starts in 0.1 s"
        )
        number, successor = two.started()
        assert number == 1
        for _ in range(20):
            two.ask(stack)
        two.command.signal(signal.SIGTERM)
        stack.close()
        ended = {(1, successor), (2, two.pids[2])}
        assert two.end() == (0, {f"thor: worker {n} ({pid}) ended" for n, pid in ended})


def test_workers_end_when_their_supervisor_is_killed(site: str) -> None:
    with crew("serve", site, *ANYWHERE) as two, ExitStack() as stack:
        for _ in range(8):
            two.ask(stack)
        with watched(*two.pids.values()) as wait:
            two.command.signal(signal.SIGKILL)
            stack.close()
            wait()
        with pytest.raises(ConnectionRefusedError):
            two.connect()


# -- the end --------------------------------------------------------------------------------------


@contextmanager
def in_flight(count: int) -> Iterator[tuple[Crew, list[socket.socket], list[socket.socket]]]:
    """A proxy, clients of it that wait, and the connections on which its origin is to answer."""
    with ExitStack() as stack:
        origin = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        to = f"http://127.0.0.1:{origin.getsockname()[1]}"
        two = stack.enter_context(crew("proxy", "--to", to, *ANYWHERE))
        clients = [stack.enter_context(two.connect()) for _ in range(count)]
        for client in clients:
            client.sendall(REQUEST)
        upstream = [stack.enter_context(origin.accept()[0]) for _ in range(count)]
        for sock in upstream:
            sock.settimeout(LIMIT_S)
            assert sock.recv(65536).startswith(b"GET /a.txt HTTP/1.1\r\n")
        yield two, clients, upstream


def all_are_answered(clients: list[socket.socket], upstream: list[socket.socket]) -> bool:
    """Have the origin answer, and return whether all clients have got that; they then leave."""
    for sock in upstream:
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n")
    answered = [read_answer(client) for client in clients]
    for client in clients:
        client.close()
    return all(answered)


def test_what_is_in_flight_is_answered_before_the_end() -> None:
    with in_flight(12) as (two, clients, upstream):
        two.command.signal(signal.SIGTERM)
        two.await_refusal()
        assert all_are_answered(clients, upstream)
        ended = {f"thor: worker {number} ({pid}) ended" for number, pid in two.pids.items()}
        assert two.end() == (0, ended)


def test_signal_for_the_whole_group_is_not_a_second_one() -> None:
    with in_flight(12) as (two, clients, upstream):
        os.killpg(two.command.process.pid, signal.SIGTERM)
        two.await_refusal()
        for pid in two.pids.values():
            os.kill(pid, signal.SIGINT)
        assert all_are_answered(clients, upstream)
        assert two.end()[0] == 0


def test_second_signal_ends_all_at_once() -> None:
    with in_flight(12) as (two, _, _), watched(*two.pids.values()) as wait:
        two.command.signal(signal.SIGTERM)
        two.await_refusal()
        two.command.signal(signal.SIGINT)
        assert two.end()[0] == 0
        wait()


def test_worker_that_fails_at_the_end_is_a_failure() -> None:
    with in_flight(1) as (two, _, _):
        two.command.signal(signal.SIGTERM)
        two.await_refusal()
        [(number, pid)] = re.findall(r"worker (\d) \((\d+)\) ended$", two.line())
        assert two.pids.pop(int(number)) == int(pid)
        [(number, pid)] = two.pids.items()
        os.kill(pid, signal.SIGKILL)
        assert two.end() == (1, {f"thor: worker {number} ({pid}) was ended by signal 9 (Killed)"})


# -- in this process ------------------------------------------------------------------------------


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the supervisor says; `here` then runs in a process that ends nobody else's workers."""
    lines: list[str] = []
    monkeypatch.setattr(serving, "log_stderr", lines.append)
    monkeypatch.setattr(common, "log_stderr", lines.append)
    monkeypatch.setattr(workers, "FIRST_DELAY_S", 0.001)
    return lines


def test_worker_that_hangs_is_ended(
    site: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf, said = os.pipe()

    def hang(worker: workers.Worker, *args: Any) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(said, b"x")

    def stop(message: str) -> None:
        told.append(message)
        if message.startswith("thor: worker 2 "):
            assert os.read(deaf, 1) + os.read(deaf, 1) == b"xx"
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(workers.Worker, "on_shutdown", hang)
    monkeypatch.setattr(serving, "log_stderr", stop)
    monkeypatch.setattr(serving, "GRACE_S", 0.25)
    assert here("serve", site, *ANYWHERE, "--workers", "2", "--drain", "0").code == 0
    assert told[-1] == "thor: stopped with workers that hang after 0.25 s"
    os.close(deaf)
    os.close(said)


def test_fork_that_fails_is_told(
    site: str, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> int:
        signal.raise_signal(signal.SIGTERM)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    assert here("serve", site, *ANYWHERE, "--workers", "2").code == 0
    said = "thor: worker 2 cannot be started: Resource temporarily unavailable; another one starts"
    assert any(line.startswith(said) for line in told)


def test_port_in_use_is_told_once(site: str) -> None:
    with crew("serve", site, *ANYWHERE) as two:
        where = f"127.0.0.1:{two.command.port}"
        for count in ("1", "2"):
            result = here("serve", site, "--listen", where, "--workers", count)
            complains(result, 1, f"cannot listen on {where}: Address already in use")
        two.command.signal(signal.SIGTERM)
        assert two.end()[0] == 0


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1.5", "10000", "\u0661"])
def test_what_is_no_number_of_workers(site: str, text: str) -> None:
    complains(here("serve", site, f"--workers={text}"), 2, "is not a number of processes")


def test_how_a_worker_ended_is_said_in_words() -> None:
    assert describe_exit(0) == "ended"
    assert describe_exit(3) == "failed with 3"
    assert describe_exit(-11) == "was ended by signal 11 (Segmentation fault)"
    assert describe_restart(None) == ""
    assert describe_restart(0.0) == "; another one starts"
    assert describe_restart(0.5) == "; another one starts in 0.5 s"
