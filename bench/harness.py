"""The instruments: a process's CPU time and memory, the load generator, the arithmetic.

Owns: reading `/proc`, running wrk, ending what was started. Must not know who the peers are.

Theory of operation: the unit is CPU time per request of the process under test, not throughput:
it hardly moves when the machine is shared. Each server runs in a session of its own, pinned to
one core; all processes of the session count, and those that they have waited for. The load
generator, and what stands behind a proxy, are pinned to another core.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import secrets
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
APPS = ROOT / "bench" / "apps"

ANSWER = b"Hello, world!"
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
#: Below those from which Linux and the BSDs choose, above those of well-known services.
NOBODYS_PORTS = range(12000, 32000)

#: What a browser sends: 12 fields with Host, about 700 bytes.
BROWSER_FIELDS = (
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/126.0.0.0 Safari/537.36",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language: en-GB,en;q=0.9,de;q=0.8",
    "Accept-Encoding: gzip, deflate, br, zstd",
    "Referer: https://www.example.com/catalogue/section/7?page=3",
    "Cookie: session=8f14e45fceea167a5a36dedd4bea2543; theme=dark; consent=analytics; "
    "visitor=GA1.2.1827364554.1719830400; basket=45c48cce2e2d7fbdea1afc51c7c6ad26",
    "Cache-Control: max-age=0",
    "Sec-Fetch-Dest: document",
    "Sec-Fetch-Mode: navigate",
    "Sec-Fetch-Site: same-origin",
    "Upgrade-Insecure-Requests: 1",
)

#: A head of about 12 KB: the browser's, a long token, 30 fields of a gateway before this one.
#: Every peer takes it as it is configured; Node stops at 16 KB, HAProxy at 15.
LARGE_FIELDS = (
    *BROWSER_FIELDS,
    "Authorization: Bearer " + "0123456789abcdef" * 256,
    *(f"X-Gateway-Assertion-{number}: " + "eyJhbGciOiJFUzI1" * 14 for number in range(30)),
)


class BenchError(Exception):
    """A peer could not be measured; the text says why."""


# -- /proc --------------------------------------------------------------------------------------


class Stat(NamedTuple):
    """What counts of `/proc/PID/stat`: times in seconds, of waited-for children too."""

    session: int
    user_s: float
    system_s: float


def parse_stat(text: str) -> Stat:
    """Read one `/proc/PID/stat` line (proc(5)); the program's name may hold spaces and brackets."""
    fields = text.rpartition(")")[2].split()
    user, system, waited_user, waited_system = (int(number) for number in fields[11:15])
    return Stat(
        int(fields[3]), (user + waited_user) / TICKS_PER_S, (system + waited_system) / TICKS_PER_S
    )


def parse_pss_bytes(text: str) -> int:
    """Return the proportional set size out of `/proc/PID/smaps_rollup`."""
    found = re.search(r"^Pss:\s+(\d+) kB$", text, re.MULTILINE)
    if found is None:
        raise ValueError("no Pss line")
    return int(found[1]) * 1024


def count_sockets(pid: int) -> int:
    """How many sockets a process has."""
    folder = f"/proc/{pid}/fd"
    return sum(os.readlink(f"{folder}/{fd}").startswith("socket:") for fd in os.listdir(folder))


def session_stats(session: int) -> dict[int, Stat]:
    """Return the processes of a session, by id."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = parse_stat(Path(f"/proc/{entry}/stat").read_text())
            except (OSError, IndexError, ValueError):  # ended meanwhile
                continue
            if stat.session == session:
                found[int(entry)] = stat
    return found


# -- processes ----------------------------------------------------------------------------------


@dataclass
class Server:
    """A process under test, with what it started, in a session of its own."""

    argv: Sequence[str]
    port: int
    core: int
    env: dict[str, str] = field(default_factory=dict)
    tls: bool = False
    process: subprocess.Popen[bytes] | None = None
    output: IO[bytes] | None = None

    def start(self, tries: int = 400) -> None:
        """Start it, and return when it accepts. Raises: BenchError with what it said."""
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 (closed by stop)
        self.process = subprocess.Popen(
            self.argv,
            stdin=subprocess.DEVNULL,
            stdout=self.output,
            stderr=subprocess.STDOUT,
            env=self.environment(),
            start_new_session=True,
            preexec_fn=self.pin,
        )
        for _ in range(tries):
            if self.answers():
                return
            try:
                self.process.wait(0.025)
            except subprocess.TimeoutExpired:
                continue
            raise BenchError(f"ended with {self.process.returncode}: {self.last_words()}")
        raise BenchError(f"does not listen on port {self.port}: {self.last_words()}")

    def environment(self) -> dict[str, str]:
        """Return what it is started with."""
        return {**os.environ, **self.env}

    def pin(self) -> None:
        """Keep the calling process on this server's core."""
        os.sched_setaffinity(0, {self.core})

    def answers(self) -> bool:
        """Whether it is there."""
        return accepts(self.port)

    def last_words(self) -> str:
        """Return the last line of what it wrote."""
        if self.output is None:
            return ""
        self.output.seek(0)
        lines = self.output.read().decode(errors="replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "(no output)")

    def cpu_s(self) -> tuple[float, float]:
        """User and system seconds so far, of the whole session."""
        assert self.process is not None
        stats = session_stats(self.process.pid).values()
        return sum(stat.user_s for stat in stats), sum(stat.system_s for stat in stats)

    def pss_bytes(self) -> int:
        """Return the memory of the whole session, shared pages in proportion."""
        assert self.process is not None
        return sum(
            parse_pss_bytes(Path(f"/proc/{pid}/smaps_rollup").read_text())
            for pid in session_stats(self.process.pid)
        )

    def sockets(self) -> dict[int, int]:
        """How many sockets each process of the session has, by its id."""
        assert self.process is not None
        return {pid: count_sockets(pid) for pid in session_stats(self.process.pid)}

    def stop(self) -> None:
        """End the session by its id: SIGTERM, then SIGKILL. Harmless when done twice."""
        process, self.process = self.process, None
        if process is not None:
            for number in (signal.SIGTERM, signal.SIGKILL):
                try:
                    os.killpg(process.pid, number)
                    process.wait(3.0)
                except ProcessLookupError:
                    break
                except subprocess.TimeoutExpired:
                    continue
            process.wait()
        if self.output is not None:
            self.output.close()
            self.output = None


def accepts(port: int) -> bool:
    """Whether something accepts on this port of the loopback interface."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True


def free_port() -> int:
    """Return a TCP port of the loopback interface that was free a moment ago.

    It is none of those that systems give to connections, which might get it meanwhile.
    """
    while True:
        port = secrets.choice(NOBODYS_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def cores() -> tuple[int, int]:
    """Return the core for what is measured, and the one for all else; one of one."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


def raise_fd_limit() -> None:
    """Allow this process, and what it starts, as many descriptors as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# -- load ---------------------------------------------------------------------------------------


class Load(NamedTuple):
    """What wrk reports."""

    requests: int
    per_s: float
    errors: int


class Sample(NamedTuple):
    """One measurement of a server under load."""

    user_us: float
    system_us: float
    per_s: float

    @property
    def us(self) -> float:
        """CPU microseconds per request."""
        return self.user_us + self.system_us


def parse_wrk(text: str) -> Load:
    """Read wrk's report. `errors`: answers that are not 2xx or 3xx, and socket errors.

    Raises: ValueError if it is none
    """
    total = re.search(r"^\s*(\d+) requests in ", text, re.MULTILINE)
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", text, re.MULTILINE)
    if total is None or rate is None:
        raise ValueError("not a report of wrk")
    errors = 0
    sockets = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    if sockets is not None:
        errors += sum(map(int, sockets.groups()))
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    if refused is not None:
        errors += int(refused[1])
    return Load(int(total[1]), float(rate[1]), errors)


@dataclass(frozen=True)
class Ask:
    """What wrk asks for. script: a file of Lua beside the peers' programs"""

    path: str = "/"
    fields: Sequence[str] = ()
    script: str = ""


def run_wrk(server: Server, seconds: int, connections: int, ask: Ask, core: int) -> Load:
    """Have wrk ask for some seconds. Raises: BenchError if it fails, or hangs."""
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    for line in ask.fields:
        argv += ["-H", line]
    if ask.script:
        argv += ["-s", str(APPS / ask.script)]
    try:
        done = subprocess.run(
            [*argv, f"{'https' if server.tls else 'http'}://127.0.0.1:{server.port}{ask.path}"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + 20,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
        return parse_wrk(done.stdout)
    except subprocess.TimeoutExpired:
        raise BenchError("wrk did not end in time") from None
    except ValueError:
        raise BenchError(f"wrk failed: {(done.stderr or done.stdout).strip()}") from None


def measure_load(server: Server, seconds: int, connections: int, ask: Ask, core: int) -> Sample:
    """CPU time per request under wrk's load. Raises: BenchError if any request failed."""
    before = server.cpu_s()
    load = run_wrk(server, seconds, connections, ask, core)
    after = server.cpu_s()
    if load.errors or not load.requests:
        raise BenchError(f"{load.errors} of {load.requests} requests failed")
    user, system = (
        (then - now) * 1e6 / load.requests for now, then in zip(before, after, strict=True)
    )
    return Sample(user, system, load.per_s)


# -- arithmetic ---------------------------------------------------------------------------------


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """How many times as much we take, median by median; None where there is nothing to compare."""
    if not ours or not theirs:
        return None
    base = statistics.median(theirs)
    return statistics.median(ours) / base if base > 0 else None


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns, the first flush left, the others flush right."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    text = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)


def machine() -> list[str]:
    """Return what the figures are taken on. To be asked before it is pinned."""
    model = "unknown processor"
    try:
        found = re.search(
            r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE
        )
        model = found[1] if found else model
    except OSError:
        pass
    system = os.uname()
    cores_usable = len(os.sched_getaffinity(0))
    return [
        f"{model}, {cores_usable} usable cores" + (", shared with the load" * (cores_usable < 2)),
        f"{system.sysname} {system.release} {system.machine}",
        f"Python {sys.version.split()[0]}, {ssl.OPENSSL_VERSION}",
    ]
