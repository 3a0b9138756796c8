"""Mixed traffic for a while, then a look at what is left: `make soak TIME=600`.

Owns: a run and its report. What is asked for is in `traffic.py`, what must come of it in
`ledger.py`, slow clients in `slow.py`.

Theory of operation: many clients ask a proxy (with TLS and without), a server and a server of
static files, which run in one process, for everything in all ways, and some vanish. The origins
behind the proxy are killed, stopped and frozen all the time. A tenth of the time is for warming up;
then all clients leave, and what the process holds is noted: descriptors, timers, threads, objects,
memory. At the end they leave again, and it must hold no more. Every request is in the ledger:
answered once, and with the right bytes, unless its client vanished or its origin was down.

Then slowhttptest is let loose on a server and on a proxy, with timeouts that are the default ones
(or shorter ones, in less than ten minutes), which takes some minutes more.

Exit code: 0 if all is as it has to be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import slow
from ledger import NAMES, Ledger
from origins import Origin, disturb, within
from traffic import Client, Door, write_files
from wire import Wire

HERE = Path(__file__).resolve().parent
CLIENTS = 32
#: What has to be as it was, and by how much the rest may have grown: caches fill, memory is not
#: given back to the last page.
SAME = ("fds", "sources", "timers", "threads", "connections", "tunnels", "pooled", "flows")
OBJECTS_MORE = 3000
KILOBYTES_MORE = 8192
PIPES_MORE = 8
#: What takes longer to settle never does, in seconds.
SETTLE_S = 20.0

Figures = dict[str, int]


class Run:
    """One run."""

    def __init__(self, seconds: float, folder: Path) -> None:
        self.seconds = seconds
        self.folder = folder
        self.ledger = Ledger()
        self.origins = [Origin(folder / "origins") for _ in range(2)]
        self.figures: dict[str, Figures] = {}
        self.told: list[str] = []
        self.ports: dict[str, int] = {}

    async def soak(self, attacked: bool) -> None:
        """Do all of it. attacked: by slowhttptest, too"""
        task = asyncio.current_task()
        assert task is not None
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        for name in ("origins", "direct"):
            (self.folder / name).touch()
        files = self.folder / "files"
        files.mkdir()
        write_files(files)
        for origin in self.origins:
            await origin.start()
        subject = await asyncio.create_subprocess_exec(
            sys.executable,
            str(HERE / "subject.py"),
            str(self.folder / "direct"),
            str(files),
            *[str(origin.port) for origin in self.origins],
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert subject.stdout is not None
            self.ports = json.loads(await subject.stdout.readline())
            await self.look("when it began")
            await self.traffic(self.seconds / 10)
            await self.rest("after warming up")
            await self.traffic(self.seconds * 9 / 10)
            await self.rest("at the end")
        finally:
            if subject.returncode is None:
                subject.terminate()
            await subject.wait()
            for origin in self.origins:
                if origin.process is not None and origin.process.returncode is None:
                    origin.process.kill()
                    await origin.process.wait()
        self.ledger.compare(self.folder / "origins", self.folder / "direct")
        self.judge()
        # By itself, since it is the server's time that is measured, not the machine's.
        await self.be_slow(attacked)

    async def traffic(self, seconds: float) -> None:
        """Have the clients ask for so long."""
        until = time.monotonic() + seconds
        doors = {
            "proxy": Door(self.ports["proxy"]),
            "tls": Door(self.ports["tls"], tls=True),
            "server": Door(self.ports["server"], relayed=False),
            "files": Door(self.ports["files"], relayed=False),
        }
        stop = asyncio.Event()
        every_s = min(3.0, seconds / 8)
        disturbing = asyncio.ensure_future(disturb(self.origins, self.ledger, every_s, stop))
        noting = asyncio.ensure_future(self.note(stop))
        clients = [Client(self.ledger, doors, seed) for seed in range(CLIENTS)]
        await asyncio.gather(*[client.run(lambda: time.monotonic() < until) for client in clients])
        stop.set()
        await noting
        done = await disturbing
        self.told.append(f"origins: {', '.join(f'{n} times {what}' for what, n in done.items())}")

    async def note(self, stop: asyncio.Event) -> None:
        """Say each minute how things are."""
        while not await within(60, stop):
            held = await self.held("/")
            requests = len(self.ledger.entries)
            faults = len(self.ledger.faults)
            print(
                f"{requests} requests, {faults} faults; {held['connections']} connections, "
                f"{held['fds']} descriptors, {held['kilobytes']} KiB",
                flush=True,
            )

    async def held(self, path: str) -> Figures:
        """What the subject holds now."""
        wire = await Wire.to(self.ports["figures"])
        await wire.send(b"GET %b HTTP/1.1\r\nHost: soak\r\n\r\n" % path.encode())
        reply = await wire.response()
        await wire.close()
        figures: Figures = json.loads(reply.body)
        return figures

    async def look(self, when: str) -> Figures:
        """Note what the subject holds, with its garbage collected."""
        self.figures[when] = await self.held("/trim")
        return self.figures[when]

    async def rest(self, when: str) -> None:
        """Wait until the subject holds no more than when it began, or for long enough."""
        before = self.figures["when it began"]
        until = time.monotonic() + SETTLE_S
        while time.monotonic() < until:
            held = await self.look(when)
            if all(held[name] <= before[name] for name in SAME):
                break
            await asyncio.sleep(0.5)

    async def be_slow(self, attacked: bool) -> None:
        """The part of slowhttptest."""
        if not attacked:
            return
        if not slow.available():
            self.told.append("slowhttptest is missing: nobody was slow")
            if os.environ.get("THOR_REQUIRE_INTEROP") == "1":
                self.ledger.fault("slowhttptest is missing, and THOR_REQUIRE_INTEROP=1 requires it")
            return
        for outcome in await slow.attack_all(min(1.0, self.seconds / 600)):
            self.told.append(str(outcome))
            if not outcome.good:
                self.ledger.fault(str(outcome))

    def judge(self) -> None:
        """Compare what is held at the end with what was held before."""
        began, warm, end = self.figures.values()
        for name in SAME:
            if end[name] != began[name]:
                self.ledger.fault(f"{name}: {began[name]} when it began, {end[name]} at the end")
        if end["pipes"] > began["pipes"] + PIPES_MORE:
            self.ledger.fault(f"pipes: {began['pipes']} when it began, {end['pipes']} at the end")
        if end["exceptions"]:
            self.ledger.fault(f"{end['exceptions']} listeners raised")
        if end["objects"] > warm["objects"] + OBJECTS_MORE:
            self.ledger.fault(f"objects: {warm['objects']} after warming up, {end['objects']} now")
        if end["kilobytes"] > warm["kilobytes"] + KILOBYTES_MORE:
            self.ledger.fault(f"KiB: {warm['kilobytes']} after warming up, {end['kilobytes']} now")

    def report(self) -> None:
        """Print the figures."""
        ledger = self.ledger
        outcomes = ", ".join(
            f"{ledger.count(outcome)} {name}" for outcome, name in enumerate(NAMES)
        )
        print(f"requests: {len(ledger.entries)}: {outcomes}")
        print(f"bodies received and compared: {ledger.body_bytes / 1e6:.0f} MB")
        print("kinds: " + ", ".join(f"{n} {kind}" for kind, n in sorted(ledger.kinds.items())))
        for line in self.told:
            print(line)
        names = list(next(iter(self.figures.values()), {}))
        print(f"{'':18}" + "".join(f"{name:>12}" for name in names))
        for when, figures in self.figures.items():
            print(f"{when:18}" + "".join(f"{figures[name]:>12}" for name in names))
        for fault in ledger.faults[:50]:
            print(f"FAULT: {fault}")
        print(f"{len(ledger.faults)} faults")


def main(args: Any = None) -> int:
    """Run it. Returns: the exit code"""
    parser = argparse.ArgumentParser(description="Soak Thor in mixed traffic.")
    parser.add_argument("--time", type=float, default=600.0, metavar="SECONDS")
    parser.add_argument("--no-slow", action="store_true", help="leave slowhttptest out")
    options = parser.parse_args(args)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(options.time, Path(folder))
        try:
            asyncio.run(run.soak(not options.no_slow))
        finally:
            run.report()
    return 1 if run.ledger.faults else 0


if __name__ == "__main__":
    sys.exit(main())
