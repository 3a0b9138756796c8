"""Two hops in a row, and a ledger of what reaches the end of them.

Owns: starting the hops, sending a message with a marked one through a chain of them, and judging
what was seen. Must not know any message: they are in `smuggling_cases.py` and `smuggling_heads.py`.

Theory of operation: the witness at the end writes down the head of each request as soon as it has
read it. The hop in front puts a mark on each request that it forwards (Thor's `Via`, the others'
`X-Front`), so that what was smuggled past it has none. After each message somebody else asks twice
for something of his own, over the connections to the origin that the message has left behind: it
must be what the witness sees, and what he gets. The witness is then asked directly, after which
all that came before is in its ledger.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
from cli_support import running
from interop_data import LIMIT_S, Wire
from interop_support import ORIGINS, Served, haproxy, nginx, started
from smuggling_cases import (
    BEHIND,
    INSIDE,
    LAST,
    MARKED,
    REFUSED,
    UNFINISHED,
    Smuggled,
    message,
)
from smuggling_heads import RESPONSES

from thor_support import need_program

#: How long a hop that waits for more is waited for: it does not say that it does.
QUIET_S = 0.02
#: More messages than are sent through one chain.
NUMBERS = 400


class Seen(NamedTuple):
    """A request in the ledger."""

    method: str
    target: str
    via: str
    front: str


class Chain(NamedTuple):
    """Hops in a row. port: of the first; witness: of the last, whose ledger it is

    strict: whether the first is Thor's; proxies: how many of Thor's proxies there are; front: the
    mark that others leave; first: the number of its first message
    """

    port: int
    witness: int
    ledger: Path
    strict: bool
    proxies: int
    front: str
    first: int

    def size(self) -> int:
        """How far the ledger is."""
        return self.ledger.stat().st_size

    def since(self, size: int) -> list[Seen]:
        """What was seen since then."""
        with self.ledger.open("rb") as file:
            file.seek(size)
            return [Seen(*json.loads(line)) for line in file]


# -- starting -----------------------------------------------------------------------------------


def _node(stack: ExitStack, ledger: Path, *options: str) -> Served:
    script = str(ORIGINS / "witness.js")
    return stack.enter_context(started(need_program("node"), *options, script, str(ledger)))


def _python(stack: ExitStack, ledger: Path, name: str, *args: str) -> Served:
    script = str(ORIGINS / f"witness_{name}.py")
    return stack.enter_context(started(sys.executable, script, str(ledger), *args))


def _nginx(stack: ExitStack, ledger: Path) -> Served:
    columns = '["$request_method","$request_uri","$http_via","$http_x_front"]'
    return stack.enter_context(
        nginx(
            ledger.parent,
            "location / { add_header X-Seen $request_uri always; return 200 'seen\\n'; }"
            f"access_log {ledger} witness;",
            f"log_format witness escape=json '{columns}';",
        )
    )


def _proxy(stack: ExitStack, to: int, twin: bool) -> int:
    argv = ("--to", f"http://127.0.0.1:{to}", "--listen", "127.0.0.1:0")
    env = {**os.environ, **({"THOR_NO_EXTENSIONS": "1"} if twin else {})}
    return stack.enter_context(running("proxy", *argv, env=env)).port


def _behind_haproxy(stack: ExitStack, folder: Path, to: int, frontend: str = "") -> int:
    backend = "http-reuse always\n    http-request set-header X-Front front"
    return stack.enter_context(haproxy(folder, to, backend, frontend=frontend)).port


def _behind_nginx(stack: ExitStack, folder: Path, to: int) -> int:
    http = f"""
    upstream thor {{ server 127.0.0.1:{to}; keepalive 8; }}
    ignore_invalid_headers off; underscores_in_headers on; merge_slashes off;"""
    location = """
    location / {
        proxy_pass http://thor; proxy_http_version 1.1; proxy_next_upstream off;
        proxy_request_buffering off; proxy_buffering off;
        proxy_set_header Connection ""; proxy_set_header Host $http_host;
        proxy_set_header X-Front front;
    }"""
    return stack.enter_context(nginx(folder, location, http)).port


def _witness(stack: ExitStack, name: str, ledger: Path) -> Served:
    if name == "nginx":
        return _nginx(stack, ledger)
    if name.startswith("node"):
        options = ("--insecure-http-parser",) if name == "node-lenient" else ()
        return _node(stack, ledger, *options)
    if name == "aiohttp":
        pytest.importorskip("aiohttp", reason="the package 'aiohttp' is missing")
        return _python(stack, ledger, "aiohttp")
    if name == "thor-server":
        return _python(stack, ledger, "thor")
    return _python(stack, ledger, "sloppy", name.removeprefix("sloppy-")[:-1])


def _before(stack: ExitStack, name: str, folder: Path, to: int) -> int:
    if name.startswith("thor-proxy"):
        return _proxy(stack, to, "pure" in name)
    if name == "nginx":
        return _behind_nginx(stack, folder, to)
    if name == "naive":
        script = str(ORIGINS / "naive_proxy.py")
        return stack.enter_context(started(sys.executable, script, str(to))).port
    lenient = "option accept-invalid-http-request" if "lenient" in name else ""
    return _behind_haproxy(stack, folder, to, lenient)


class Hops:
    """Hops that run, each once: chains that end alike share what they have in common."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._ports: dict[tuple[str, ...], int] = {}
        self._chains = 0

    def close(self) -> None:
        """End them all."""
        self._stack.close()

    def chain(self, *hops: str) -> Chain:
        """Have hops in a row, the first one first.

        The last one is "nginx", "node", "node-lenient", "aiohttp", "thor-server", "sloppy-lengths"
        or "sloppy-codings"; those before are "thor-proxy", "thor-proxy-pure" (without the native
        codec), "haproxy", "haproxy-lenient", "nginx" or "naive".
        """
        *before, _ = hops
        port = self._port(hops)
        proxies = sum(hop.startswith("thor-proxy") for hop in before)
        front = "front" if len(before) > proxies else ""
        strict = before[0].startswith("thor-proxy")
        first = self._chains * NUMBERS
        self._chains += 1
        witness, ledger = self._ports[hops[-1:]], self._place(hops[-1:]) / "ledger"
        return Chain(port, witness, ledger, strict, proxies, front, first)

    def _place(self, hops: tuple[str, ...]) -> Path:
        return self._folder / "+".join(hops)

    def _port(self, hops: tuple[str, ...]) -> int:
        """Where the first of them listens; it is started if nobody has needed it before."""
        if hops not in self._ports:
            behind = self._port(hops[1:]) if len(hops) > 1 else 0
            place = self._place(hops)
            place.mkdir()
            if behind:
                self._ports[hops] = _before(self._stack, hops[0], place, behind)
            else:
                (place / "ledger").touch()
                self._ports[hops] = _witness(self._stack, hops[0], place / "ledger").port
        return self._ports[hops]


# -- sending ------------------------------------------------------------------------------------


class Got(NamedTuple):
    """What a client has got: statuses of final responses, and what these say was asked for."""

    statuses: list[int]
    seen: list[bytes]

    @classmethod
    def parse(cls, data: bytes) -> Got:
        """Look at the heads in what came; no body of a witness looks like one."""
        statuses = [int(status) for status in re.findall(rb"HTTP/1\.[01] (\d{3})", data)]
        seen = re.findall(rb"(?im)^x-seen: (\S+)\r$", data)
        return cls([status for status in statuses if status >= 200], seen)


class Attacker:
    """The client that sends the message."""

    def __init__(self, port: int) -> None:
        self.wire = Wire.to(port)
        self.data = b""
        self.ended = False

    def read(self, responses: int, seconds: float) -> None:
        """Read until so many final responses have begun, the end, or `seconds` of silence."""
        self.wire.sock.settimeout(seconds)
        try:
            while not self.ended and len(Got.parse(self.data).statuses) < responses:
                piece = self.wire.sock.recv(1 << 16)
                self.data += piece
                self.ended = not piece
        except TimeoutError:
            pass
        except ConnectionError:
            self.ended = True

    def finish(self) -> Got:
        """Send no more; read to the end. Returns: all that came"""
        try:
            self.wire.sock.shutdown(1)
        except OSError:  # the other side was quicker
            pass
        self.read(1 << 30, LIMIT_S)
        self.wire.close()
        assert self.ended, "the connection does not end"
        return Got.parse(self.data)


def ask_twice(port: int, number: int) -> list[bytes]:
    """Somebody else's requests. Returns: what the answers say was asked for"""
    answers = []
    with Wire.to(port) as wire:
        for _ in range(2):
            wire.send(b"GET /v%04d HTTP/1.1\r\nHost: site\r\n\r\n" % number)
            answers.append(wire.message().fields.get(b"x-seen", b""))
    return answers


#: How many answers there are to wait for; after others the connection ends.
_FINALS = {INSIDE: 1, BEHIND: 2, UNFINISHED: 0}


def send(at: Chain, case: Smuggled, index: int) -> list[str]:
    """Send a message, the `index`-th of a chain. Returns: what is wrong about what came of it"""
    number = at.first + index
    before = at.size()
    attacker = Attacker(at.port)
    try:
        attacker.wire.send(case.numbered(number))
    except ConnectionError:
        pass  # it was refused before it was all sent
    if at.strict:
        attacker.read(_FINALS.get(case.becomes, 1 << 30), LIMIT_S)
    else:
        attacker.read(2, QUIET_S)
    answers = ask_twice(at.port, number)
    got = attacker.finish()
    with Wire.to(at.witness) as wire:
        wire.send(b"GET /s%04d HTTP/1.1\r\nHost: site\r\n\r\n" % number)
        wire.message()
    # A witness may write down late what its client gave up: that is of an earlier message.
    late = {f"/m{earlier:04}" for earlier in range(at.first, number)}
    seen = [
        entry
        for entry in at.since(before)
        if not entry.target.startswith("/s") and entry.target not in late
    ]
    wrong = judge(at, case, number, got, seen)
    if answers != [b"/v%04d" % number] * 2:
        wrong.append(f"somebody else asked for /v{number:04} and got {answers}")
    return [f"{case.id}: {what} ({got}; {seen})" for what in wrong]


def repeated(at: Chain, start: int) -> list[str]:
    """Return what is wrong about all that a witness has seen since `start`: messages seen twice."""
    counts = Counter(entry.target for entry in at.since(start) if entry.target.startswith("/m"))
    return [f"the witness has seen {target} twice" for target, n in counts.items() if n > 1]


def provoke(at: Chain, name: str, index: int) -> list[str]:
    """Have the witness, a sloppy one, say something. Returns: what is wrong about what follows"""
    said, statuses = RESPONSES[name]
    number = at.first + index
    attacker = Attacker(at.port)
    say = b"X-Say: " + said.hex().encode()
    method = b"HEAD" if name.endswith("-of-head") else b"GET"
    request = message(say, start=method + b" /m0000 HTTP/1.1") + MARKED
    attacker.wire.send(Smuggled(name, request, BEHIND).numbered(number))
    # nginx before 1.29 takes a 103 for the answer, and waits for its end.
    attacker.read(2, LIMIT_S if at.strict else QUIET_S)
    answers = ask_twice(at.port, number)
    got = attacker.finish()
    wrong = []
    if answers != [b"/v%04d" % number] * 2:
        wrong.append(f"somebody else asked for /v{number:04} and got {answers}")
    if at.strict and got.statuses[0] not in statuses:
        wrong.append("that is no answer to it")
    if b"/marked" in got.seen or got.seen[1:] not in ([], [b"/x%04d" % number]):
        wrong.append("what the origin has added is taken for an answer")
    return [f"{name}: {what} ({got})" for what in wrong]


# -- judging ------------------------------------------------------------------------------------


def judge(at: Chain, case: Smuggled, number: int, got: Got, seen: list[Seen]) -> list[str]:
    """What is wrong about what the witness has seen and the attacker has got."""
    wrong = []
    for entry in seen:
        refused = not entry.target and got.statuses[:1] >= [400]  # nginx tells of these, too
        if not refused and (entry.via.count("thor-") != at.proxies or entry.front != at.front):
            wrong.append(f"a request came past the first hop: {entry}")
    # The authority of CONNECT has no number of its own.
    targets = [
        re.sub(r"^http://\w+|^site:80$", f"/m{number:04}" * (":80" in entry.target), entry.target)
        for entry in seen
    ]
    other = f"/v{number:04}"
    if targets.count(other) != 2:
        wrong.append(f"the witness has seen {other} {targets.count(other)} times")
    own = [target for target in targets if target not in ("", other)]
    kinds = "".join(target[1:2] for target in own)
    if [target for target in own if not re.match(rf"/[mx]{number:04}", target)]:
        wrong.append("the witness has seen what nobody asked for")
    if at.strict:
        wrong += judge_strictly(case, got, kinds)
    elif "xm" in kinds or kinds.count("m") > 1 or kinds.count("x") > case.data.count(b"/x0000"):
        wrong.append("the witness has seen something twice, or in another order")
    return wrong


_ACCEPTED = (INSIDE, BEHIND, LAST, UNFINISHED)


def judge_strictly(case: Smuggled, got: Got, kinds: str) -> list[str]:
    """The same for a chain that begins with Thor, of which the outcome is known."""
    wrong = []
    # What an origin refuses, or does not know, it need not have written down.
    may_lack = "m" if got.statuses and got.statuses[0] >= 400 else ""
    expected = {REFUSED: "", INSIDE: "m", BEHIND: "mx", LAST: "m"}.get(case.becomes)
    if expected is None:
        if "x" in kinds:
            wrong.append("the marked request was seen")
    elif kinds != expected and not (may_lack and kinds == expected.replace("m", "")):
        wrong.append(f"the witness has seen {kinds!r}, and not {expected!r}")
    if len(got.statuses) != (2 if case.becomes == BEHIND else 1):
        wrong.append("so many answers there must not be")
    if case.becomes not in _ACCEPTED and got.statuses[:1] < [400]:
        wrong.append("it was not refused")
    return wrong
