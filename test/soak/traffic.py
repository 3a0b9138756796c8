"""The clients: what they ask for, in which ways, and what has to come of it.

Owns: the kinds of requests. Must not know how the other side is run; every request is entered into
the ledger, and its outcome.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ledger import ANSWERED, FAILED, GIVEN_UP, REFUSED, Ledger
from program import body_of
from wire import LostError, Reply, Wire, WrongError

SIZES = (0, 1, 100, 1000, 1400, 16_384, 65_535, 65_536, 65_537, 300_000)
WEIGHTS = (2, 2, 20, 20, 10, 8, 4, 4, 4, 2)
#: A request that takes longer hangs.
LIMIT_S = 30.0
#: The receive buffer of a slow reader.
SMALL_BYTES = 32_768
#: Files that are served: their numbers are their sizes.
FILES = (0, 1, 5000, 131_072, 1_000_003)
BAD = (
    b"GET / HTTP/1.1\nHost: a\n\n",
    b"GET /post/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    b"POST /post/%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /post/%d HTTP/1.1\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET /post/%d HTTP/3.0\r\nHost: a\r\n\r\n",
)


class Door(NamedTuple):
    """Where to connect. relayed: whether a proxy stands before who answers"""

    port: int
    tls: bool = False
    relayed: bool = True


class Refusal(Exception):
    """The proxy says that it cannot reach an origin."""


class Client:
    """One client: a request after the other, on one connection as long as it lasts."""

    def __init__(self, ledger: Ledger, doors: dict[str, Door], seed: int) -> None:
        self.ledger = ledger
        self.doors = doors
        self.random = random.Random(seed)
        self.wire: Wire | None = None
        self.door = doors["proxy"]
        #: Where the connection leads.
        self.at = self.door
        #: Requests that were made, and have no outcome yet.
        self.due: list[int] = []

    async def run(self, goes_on: Callable[[], bool]) -> None:
        """Make requests while it `goes_on`."""
        while goes_on():
            kind, make = self.random.choices(KINDS, KIND_WEIGHTS)[0]
            self.door = self.doors[self.random.choices(*DOORS)[0]]
            began = now()
            try:
                async with asyncio.timeout(LIMIT_S):
                    await make(self, kind)
            except (LostError, Refusal) as exc:
                await self.failed(kind, began, exc)
            except (WrongError, TimeoutError, OSError) as exc:
                self.ledger.fault(f"{kind} {self.due} at {self.door}: {exc!r}")
                await self.failed(kind, began, None)
            if self.random.random() < 0.1:
                await self.leave()
        await self.leave()

    async def failed(self, kind: str, began: float, exc: Exception | None) -> None:
        """What is due is lost. That is in order only behind a proxy whose origin was down."""
        if exc is not None and not (self.door.relayed and self.ledger.may_fail(began, now())):
            since = self.ledger.since_outage(began)
            self.ledger.fault(f"{kind} {self.due} at {self.door}, {since:.1f} s after: {exc!r}")
        self.settle(FAILED)
        await self.leave()

    async def leave(self) -> None:
        """Close the connection."""
        wire, self.wire = self.wire, None
        if wire is not None:
            await wire.close()

    async def connect(self, fresh: bool = False, receive_bytes: int = 0) -> Wire:
        """The connection; another one if the one there is leads elsewhere."""
        if self.wire is not None and (fresh or self.at != self.door):
            await self.leave()
        if self.wire is None:
            self.wire = await Wire.to(self.door.port, self.door.tls, receive_bytes)
            self.at = self.door
        return self.wire

    def begin(self, kind: str, once: bool = False) -> int:
        """A new request. Returns: its number"""
        self.due.append(self.ledger.open(kind, once))
        return self.due[-1]

    def settle(self, outcome: int) -> None:
        """All that is due ends so."""
        due, self.due = self.due, []
        for number in due:
            self.ledger.close(number, outcome)

    async def reply(self, method: bytes = b"GET") -> Reply:
        """The next response. Raises: Refusal for one of the proxy's own"""
        assert self.wire is not None
        reply = await self.wire.response(method)
        self.ledger.body_bytes += len(reply.body)
        if not reply.keeps:
            await self.leave()
        if reply.status in (502, 503, 504):
            raise Refusal(reply.status, reply.fields.get(b"proxy-status"))
        return reply

    def answered(self, good: bool, reply: Reply) -> None:
        """The oldest request that is due was answered, and it is what it has to be, or not."""
        number = self.due.pop(0)
        self.ledger.close(number, ANSWERED)
        if not good:
            self.ledger.fault(f"request {number} got {reply!r:.300}")

    def size(self) -> int:
        """Of a body."""
        return self.random.choices(SIZES, WEIGHTS)[0]

    def cut(self, data: bytes) -> Iterable[bytes]:
        """Some pieces of `data`."""
        places = sorted(self.random.randrange(len(data) + 1) for _ in range(3))
        return filter(None, map(data.__getitem__, map(slice, [0, *places], [*places, len(data)])))


def now() -> float:
    """On the clock of the outages."""
    return asyncio.get_running_loop().time()


def line(method: str, path: str, *fields: str, version: str = "1.1") -> bytes:
    """The head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: soak", *fields, "", ""]).encode()


def is_body(reply: Reply, number: int, size: int) -> bool:
    """Whether this is the answer to a GET."""
    said = reply.fields.get(b"x-number") == b"%d" % number
    return bool(said and reply.status == 200 and reply.body == body_of(number, size))


def is_digest(reply: Reply, number: int, body: bytes) -> bool:
    """Whether this is the answer to a request with a body."""
    return bool(reply.body == f"{number} {hashlib.sha256(body).hexdigest()}".encode())


# -- kinds --------------------------------------------------------------------------------------


async def get(client: Client, kind: str) -> None:
    """A GET, with or without a length, early hints, or a delay."""
    path = client.random.choice(("get", "get", "get", "late", "hint"))
    number, size = client.begin(f"{kind} {path}"), client.size()
    wire = await client.connect()
    coding = client.random.choice(("", "&chunked"))
    await wire.send(line("GET", f"/{path}/{number}?size={size}{coding}"))
    reply = await client.reply()
    client.answered(is_body(reply, number, size) and reply.hints == [103] * (path == "hint"), reply)


async def head(client: Client, kind: str) -> None:
    """A HEAD."""
    number, size = client.begin(kind), client.size()
    wire = await client.connect()
    await wire.send(line("HEAD", f"/get/{number}?size={size}"))
    reply = await client.reply(b"HEAD")
    client.answered(reply.fields.get(b"content-length") == b"%d" % size, reply)


async def pipeline(client: Client, kind: str) -> None:
    """Several requests at once."""
    sizes = [client.size() for _ in range(client.random.randrange(2, 20))]
    numbers = [client.begin(kind) for _ in sizes]
    wire = await client.connect(fresh=True)
    asked = b"".join(
        line("GET", f"/get/{number}?size={size}")
        for number, size in zip(numbers, sizes, strict=True)
    )
    await wire.send(*client.cut(asked))
    for number, size in zip(numbers, sizes, strict=True):
        reply = await client.reply()
        client.answered(is_body(reply, number, size), reply)


async def upload(client: Client, kind: str) -> None:
    """A request with a body, with a length or in chunks."""
    method = client.random.choice(("POST", "POST", "PATCH", "PUT", "DELETE", "OPTIONS", "MADE-UP"))
    number = client.begin(f"{kind} {method}", method in ("POST", "PATCH", "MADE-UP"))
    body = body_of(number, client.size())
    wire = await client.connect()
    expects = client.random.random() < 0.2
    fields = ["Expect: 100-continue"] if expects and body else []
    if client.random.random() < 0.5:
        fields.append(f"Content-Length: {len(body)}")
        data = body
    else:
        fields.append("Transfer-Encoding: chunked")
        chunks = (b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in client.cut(body))
        data = b"".join(chunks) + b"0\r\nX-Trailer: yes\r\n\r\n"
    await wire.send(line(method, f"/post/{number}", *fields), *client.cut(data))
    reply = await client.reply()
    client.answered(is_digest(reply, number, body), reply)


async def early(client: Client, kind: str) -> None:
    """A request that is answered before its body is read."""
    number, body = client.begin(kind, once=True), b"x" * client.size()
    wire = await client.connect(fresh=True)
    await wire.send(line("POST", f"/early/{number}", f"Content-Length: {len(body)}"), body)
    reply = await client.reply()
    client.answered(reply.status == 403, reply)
    await client.leave()


async def broken(client: Client, kind: str) -> None:
    """A response that breaks off: it must not look whole."""
    number, size = client.begin(kind), 1000 + client.size()
    wire = await client.connect(fresh=True)
    coding = client.random.choice(("", "&chunked"))
    await wire.send(line("GET", f"/break/{number}?size={size}{coding}"))
    try:
        reply = await client.reply()
    except (LostError, Refusal):
        client.settle(ANSWERED)
        await client.leave()
    else:
        client.answered(False, reply)


async def give_up_asking(client: Client, kind: str) -> None:
    """A client that vanishes in the middle of its request."""
    number, body = client.begin(kind, once=True), b"x" * (1 + client.size())
    wire = await client.connect(fresh=True)
    asked = line("POST", f"/post/{number}", f"Content-Length: {len(body)}") + body
    await wire.send(asked[: client.random.randrange(len(asked))])
    wire.reset()
    client.settle(GIVEN_UP)
    await client.leave()


async def give_up_reading(client: Client, kind: str) -> None:
    """A client that vanishes in the middle of its response."""
    number = client.begin(kind)
    wire = await client.connect(fresh=True, receive_bytes=client.random.choice((0, SMALL_BYTES)))
    await wire.send(line("GET", f"/get/{number}?size=2000000"))
    await wire.read(client.random.randrange(1, 100_000))
    wire.reset()
    client.settle(GIVEN_UP)
    await client.leave()


async def read_slowly(client: Client, kind: str) -> None:
    """A client that reads a little at a time."""
    number, size = client.begin(kind), 500_000
    wire = await client.connect(fresh=True, receive_bytes=SMALL_BYTES)
    await wire.send(line("GET", f"/get/{number}?size={size}"))
    await asyncio.sleep(client.random.random() / 5)
    reply = await client.reply()
    client.answered(is_body(reply, number, size), reply)
    await client.leave()


async def half_close(client: Client, kind: str) -> None:
    """A client that finishes sending, and still wants its answers."""
    sizes = [client.size() for _ in range(3)]
    numbers = [client.begin(kind) for _ in sizes]
    wire = await client.connect(fresh=True)
    for number, size in zip(numbers, sizes, strict=True):
        await wire.send(line("GET", f"/get/{number}?size={size}"))
    wire.finish()
    for number, size in zip(numbers, sizes, strict=True):
        client.wire = wire  # one that is told to close reads what is left first
        reply = await wire.response()
        if reply.status in (502, 503, 504):
            raise Refusal(reply.status, reply.fields.get(b"proxy-status"))
        client.answered(is_body(reply, number, size), reply)
    if not client.door.tls and not await wire.at_end():
        client.ledger.fault("more than was asked for")
    await client.leave()


async def old_version(client: Client, kind: str) -> None:
    """HTTP/1.0."""
    number, size = client.begin(kind), client.size()
    wire = await client.connect(fresh=True)
    path = f"/get/{number}?size={size}{client.random.choice(('', '&chunked'))}"
    await wire.send(line("GET", path, version="1.0"))
    reply = await client.reply()
    client.answered(is_body(reply, number, size), reply)
    await client.leave()


async def bad(client: Client, kind: str) -> None:
    """What is no request."""
    number = client.begin(kind)
    wire = await client.connect(fresh=True)
    data = client.random.choice(BAD)
    await wire.send(data % number if b"%d" in data else data)
    reply = await wire.response()
    if reply.status not in (400, 505) or not await wire.at_end():
        client.ledger.fault(f"what is no request got {reply!r:.300}")
    client.settle(REFUSED)
    await client.leave()


async def upgrade(client: Client, kind: str) -> None:
    """Another protocol."""
    number = client.begin(kind)
    wire = await client.connect(fresh=True)
    fields = ("Connection: upgrade", "Upgrade: mirror")
    await wire.send(line("GET", f"/upgrade/{number}", *fields))
    reply = await client.reply()
    data = body_of(number, client.size())
    sending = asyncio.ensure_future(wire.send(*client.cut(data)))
    try:
        good = reply.status == 101 and await wire.read(len(data)) == data
    finally:
        await sending
    client.answered(good, reply)
    await client.leave()


async def fetch_file(client: Client, kind: str) -> None:
    """A file, or a part of it. Files have no ledger."""
    client.door = client.doors["files"]
    size = client.random.choice(FILES)
    client.ledger.kinds[kind] += 1
    wire = await client.connect()
    start = client.random.randrange(size + 1)
    ranged = start < size and client.random.random() < 0.5
    await wire.send(line("GET", f"/{size}", *([f"Range: bytes={start}-"] if ranged else [])))
    reply = await client.reply()
    whole = body_of(size, size)
    wanted = (206, whole[start:]) if ranged else (200, whole)
    if (reply.status, reply.body) != wanted:
        client.ledger.fault(f"the file {size} is {reply!r:.300}")


def write_files(folder: Path) -> None:
    """Make the files that are served."""
    for size in FILES:
        (folder / str(size)).write_bytes(body_of(size, size))


Kind = tuple[str, Callable[[Client, str], Awaitable[None]]]

_TABLE: dict[Callable[[Client, str], Awaitable[None]], int] = {
    get: 30,
    head: 5,
    pipeline: 6,
    upload: 25,
    early: 3,
    broken: 3,
    give_up_asking: 4,
    give_up_reading: 3,
    read_slowly: 2,
    half_close: 3,
    old_version: 3,
    bad: 3,
    upgrade: 4,
    fetch_file: 6,
}
KINDS: list[Kind] = [(make.__name__.replace("_", " "), make) for make in _TABLE]
KIND_WEIGHTS = list(_TABLE.values())
DOORS = (["proxy", "tls", "server"], [50, 20, 30])
