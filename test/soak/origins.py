"""Origins that come and go.

Owns: their processes, and what is done to them. Must not know the traffic.
"""

from __future__ import annotations

import asyncio
import random
import signal
import sys
from collections import Counter
from pathlib import Path

from ledger import Ledger

HERE = Path(__file__).resolve().parent
#: How long one stays away, and how long it may take to finish what it is at, in seconds.
AWAY_S = 0.2
DRAIN_S = 10.0
FREEZE_S = 0.3


class Origin:
    """One process on one port."""

    def __init__(self, ledger: Path) -> None:
        self.ledger = ledger
        self.port = 0
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it, on the port that it had."""
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "program.py"),
            str(self.port),
            str(self.ledger),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        assert self.process.stdout is not None
        self.port = int(await self.process.stdout.readline())

    async def end(self, number: signal.Signals) -> None:
        """End it with a signal."""
        process = self.process
        assert process is not None
        if process.returncode is None:
            process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), DRAIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()


async def disturb(
    origins: list[Origin], ledger: Ledger, every_s: float, stop: asyncio.Event
) -> Counter[str]:
    """Kill, stop or freeze one origin after the other, until told to stop. Returns: how often"""
    done: Counter[str] = Counter()
    chance = random.Random(1)
    clock = asyncio.get_running_loop().time
    while not await within(every_s, stop):
        origin = chance.choice(origins)
        what = chance.choice(("killed", "stopped", "frozen"))
        if what == "frozen":
            assert origin.process is not None
            origin.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(FREEZE_S)
            origin.process.send_signal(signal.SIGCONT)
        else:
            ledger.begin_outage(clock())
            await origin.end(signal.SIGKILL if what == "killed" else signal.SIGTERM)
            await asyncio.sleep(AWAY_S)
            await origin.start()
            ledger.end_outage(clock())
        done[what] += 1
    return done


async def within(seconds: float, event: asyncio.Event) -> bool:
    """Whether it happens within so many seconds; waits for either."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True
