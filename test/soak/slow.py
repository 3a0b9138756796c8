"""slowhttptest against a live server: slow heads, slow bodies, slow readers.

Owns: running it, and judging. Must not know the server but by its ports and its descriptors.

Theory of operation: while 150 connections of slowhttptest are slow, somebody else asks, and is not
kept waiting for longer than a second. The server's descriptors are counted meanwhile: they have to
be as many as before within what the server's time-outs add up to. (slowhttptest itself is the last
to notice: it reads on, slowly, what its kernel held when the reset came.)
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

from thor.http import HttpServer
from thor.http.server.patience import RATE_WINDOW_S

HERE = Path(__file__).resolve().parent
CONNECTIONS = 150
#: How long another client may be kept waiting, in seconds.
WAIT_S = 1.0
#: For connecting, and for a machine that has other things to do, in seconds.
SLACK_S = 5.0
#: How often the descriptors are counted, in seconds.
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

    requests, wait_s: of the other client
    """

    attack: Attack
    target: str
    most: int
    ended_s: float | None
    requests: int
    wait_s: float

    @property
    def good(self) -> bool:
        """Whether all is as promised."""
        in_time = self.ended_s is not None and self.ended_s <= self.attack.bound_s
        attacked = self.most >= CONNECTIONS // 2
        return attacked and in_time and self.requests > 0 and self.wait_s <= WAIT_S

    def __str__(self) -> str:
        ended = "NOT ENDED" if self.ended_s is None else f"ended after {self.ended_s:.0f} s"
        return (
            f"{self.attack.name} on the {self.target}: {self.most} descriptors, all {ended} "
            f"(bound {self.attack.bound_s:.0f} s); another client made {self.requests} requests "
            f"and waited {self.wait_s * 1000:.0f} ms at most"
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


def descriptors(pid: int) -> int:
    """How many a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


async def run_attack(attack: Attack, port: int, pid: int) -> tuple[int, float | None]:
    """Run slowhttptest until the server has ended it, or for long enough.

    Returns: how many descriptors the server needed for it, and for how long it needed any
    """
    before, most = descriptors(pid), 0
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
            more = descriptors(pid) - before
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
    """Run all modes, one after the other, on a server and on a proxy."""
    live = await asyncio.create_subprocess_exec(
        sys.executable, str(HERE / "live.py"), str(scale), stdout=asyncio.subprocess.PIPE
    )
    outcomes = []
    try:
        assert live.stdout is not None
        ports = json.loads(await live.stdout.readline())
        for target, port in ports.items():
            for attack in attacks(scale):
                outcomes.append(await _judge(live.pid, attack, target, port))
    finally:
        live.terminate()
        await live.wait()
    return outcomes


async def _judge(pid: int, attack: Attack, target: str, port: int) -> Outcome:
    probe = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "probe.py"),
        str(port),
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
    count, longest = json.loads(said) if said else (0, 0.0)
    return Outcome(attack, target, most, ended_s, count, longest)


def available() -> bool:
    """Whether slowhttptest is installed."""
    return shutil.which("slowhttptest") is not None
