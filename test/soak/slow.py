"""slowhttptest against a live server: slow heads, slow bodies, slow readers.

Owns: running it, and judging. Must not know the server but by its ports and its sockets.

Theory of operation: while 150 connections of slowhttptest are slow, somebody else asks, and is not
kept waiting for longer than a second. The server's sockets are counted meanwhile: they have to be
as many as before within what the server's timeouts add up to. (slowhttptest itself is the last
to notice: it reads on, slowly, what its kernel held when the reset came.)
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from thor.http import HttpServer
from thor.http.http1.server_timeouts import RATE_WINDOW_S

HERE = Path(__file__).resolve().parent
CONNECTIONS = 150
#: How long another client may be kept waiting, in seconds.
WAIT_S = 1.0
#: For connecting, and for a machine that has other things to do, in seconds.
SLACK_S = 5.0
#: How often the sockets are counted, in seconds.
LOOK_S = 0.2
#: Bytes of the response that is read slowly: more than the kernels hold.
LARGE = 8_000_000


class Attack(NamedTuple):
    """A mode of slowhttptest. bound_s: when the server has ended the last connection"""

    name: str
    options: tuple[str, ...]
    path: str
    bound_s: float


class Outcome(NamedTuple):
    """How it went. most: connections at a time; ended_s: when none was left, or None

    requests, wait_s: of the other client; idle_wait_s: his longest wait at an idle server
    """

    attack: Attack
    target: str
    most: int
    ended_s: float | None
    requests: int
    wait_s: float
    idle_wait_s: float

    @property
    def good(self) -> bool:
        """Whether all is as promised."""
        in_time = self.ended_s is not None and self.ended_s <= self.attack.bound_s
        attacked = self.most >= CONNECTIONS // 2
        return attacked and in_time and self.requests > 0 and self.wait_s <= WAIT_S

    def __str__(self) -> str:
        ended = "NOT ENDED" if self.ended_s is None else f"ended after {self.ended_s:.0f} s"
        return (
            f"{self.attack.name} on the {self.target}: {self.most} sockets, all {ended} "
            f"(bound {self.attack.bound_s:.0f} s); another client made {self.requests} requests "
            f"and waited {self.wait_s * 1000:.0f} ms at most "
            f"({self.idle_wait_s * 1000:.0f} ms at an idle server)"
        )


def attacks(scale: float) -> list[Attack]:
    """The three modes, with bounds that follow from the server's settings."""
    head = (HttpServer.head_timeout or 0) * scale
    send = (HttpServer.send_timeout or 0) * scale
    linger = HttpServer.linger_timeout or 0
    return [
        Attack("slow head (-H)", ("-H", "-i", "5"), "/get/1", head + linger + SLACK_S),
        Attack(
            "slow body (-B)",
            ("-B", "-i", "5", "-s", "8192"),
            "/post/1",
            2 * RATE_WINDOW_S + linger + SLACK_S,
        ),
        Attack(
            "slow read (-X)",
            ("-X", "-n", "5", "-z", "32", "-w", "512", "-y", "1024"),
            f"/get/1?size={LARGE}",
            2 * send + SLACK_S,
        ),
    ]


def sockets(pid: int) -> int:
    """How many a process has open."""
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            count += os.readlink(f"/proc/{pid}/fd/{fd}").startswith("socket:")
        except OSError:  # closed meanwhile
            pass
    return count


async def run_attack(attack: Attack, port: int, pid: int) -> tuple[int, float | None]:
    """Run slowhttptest until the server has ended it, or for long enough.

    Returns: how many sockets the server needed for it, and for how long it needed any
    """
    before, most = sockets(pid), 0
    argv = ("slowhttptest", *attack.options, "-c", str(CONNECTIONS), "-r", str(CONNECTIONS))
    url = f"http://127.0.0.1:{port}{attack.path}"
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *argv,
        *("-l", "600", "-p", "3", "-u", url),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        while (took := time.monotonic() - began) < attack.bound_s + 10:
            more = sockets(pid) - before
            most = max(most, more)
            if more <= 0 and (most >= CONNECTIONS // 2 or process.returncode is not None):
                return most, took
            await asyncio.sleep(LOOK_S)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    return most, None


async def attack_all(scale: float) -> list[Outcome]:
    """Run all modes, one after the other, on a server, and on a proxy before it."""
    outcomes = []
    async with AsyncExitStack() as stack:
        server, port = await _start(stack, str(scale))
        proxy, its_port = await _start(stack, str(scale), str(port))
        _, idle = await _start(stack, "1")
        for target, pid, where in (("server", server, port), ("proxy", proxy, its_port)):
            for attack in attacks(scale):
                outcomes.append(await _judge(pid, attack, target, where, idle))
    return outcomes


async def _start(stack: AsyncExitStack, *args: str) -> tuple[int, int]:
    """Start `live.py`. Returns: its process's id, and its port"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "live.py"), *args, stdout=asyncio.subprocess.PIPE
    )

    async def end() -> None:
        process.terminate()
        await process.wait()

    stack.push_async_callback(end)
    assert process.stdout is not None
    return process.pid, int(await process.stdout.readline())


async def _judge(pid: int, attack: Attack, target: str, port: int, idle: int) -> Outcome:
    probe = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "probe.py"),
        str(port),
        str(idle),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        await asyncio.sleep(1)  # its connections, and the proxy's to the server, are there
        most, ended_s = await run_attack(attack, port, pid)
    except BaseException:
        probe.kill()
        raise
    said = (await probe.communicate(b""))[0]
    count, longest, usual = json.loads(said) if said else (0, 0.0, 0.0)
    return Outcome(attack, target, most, ended_s, count, longest, usual)


def available() -> bool:
    """Whether slowhttptest is installed."""
    return shutil.which("slowhttptest") is not None
