"""The queue of what is to be sent, over a socket that takes what the test says."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thor.tcp.writebuf import JOIN_BELOW, MAX_PIECES, WriteBuffer, to_bytes

BIG = b"b" * JOIN_BELOW


class Wire:
    """A socket that takes `takes` bytes a call (None: all)."""

    def __init__(self, takes: int | None = None) -> None:
        self.takes = takes
        self.got = b""
        self.calls: list[Any] = []

    def send(self, data: Any) -> int:
        self.calls.append(data)
        taken = bytes(data)[: self.takes]
        self.got += taken
        return len(taken)

    def sendmsg(self, pieces: list[Any]) -> int:
        self.calls.append(list(pieces))
        taken = b"".join(pieces)[: self.takes]
        self.got += taken
        return len(taken)


def filled(*chunks: bytes) -> WriteBuffer:
    buffer = WriteBuffer()
    buffer.chunks.extend(chunks)
    buffer.size = sum(map(len, chunks))
    return buffer


def drain(buffer: WriteBuffer, wire: Wire, *, sendmsg: bool = True) -> bytes:
    while buffer.size:
        buffer.send_to(wire.send, wire.sendmsg if sendmsg else None)
    return wire.got


def test_one_chunk_is_sent_as_it_is() -> None:
    wire = Wire()
    assert filled(BIG).send_to(wire.send, wire.sendmsg) == len(BIG)
    assert wire.calls[0] is BIG


def test_small_chunks_leave_joined() -> None:
    wire = Wire()
    filled(b"a", b"b", b"c").send_to(wire.send, wire.sendmsg)
    assert wire.calls == [b"abc"]


def test_large_chunks_leave_without_a_copy() -> None:
    wire = Wire()
    filled(b"head", BIG).send_to(wire.send, wire.sendmsg)
    assert wire.calls == [[b"head", BIG]]
    assert wire.calls[0][1] is BIG


def test_without_sendmsg_a_large_chunk_leaves_alone_and_small_ones_joined() -> None:
    wire = Wire()
    buffer = filled(BIG, b"a", b"b", BIG)
    buffer.send_to(wire.send, None)
    buffer.send_to(wire.send, None)
    assert wire.calls[0] is BIG
    assert wire.calls[1] == b"ab" + BIG[:-2]
    assert drain(buffer, wire, sendmsg=False) == BIG + b"ab" + BIG


def test_very_many_small_chunks_do_not_leave_a_few_at_a_time() -> None:
    wire = Wire()
    pieces = [b"%05d" % number for number in range(20_000)]
    assert drain(filled(*pieces), wire) == b"".join(pieces)
    assert len(wire.calls) <= 100_000 // JOIN_BELOW + 2


def test_the_kernel_never_gets_too_many_pieces() -> None:
    wire = Wire()
    drain(filled(*[b"x" * 1000] * 500), wire)
    assert max(len(call) for call in wire.calls if isinstance(call, list)) <= MAX_PIECES


def test_what_was_taken_is_dropped_and_counted() -> None:
    wire = Wire(takes=4)
    buffer = filled(b"abc", b"def", b"ghi")
    assert buffer.send_to(wire.send, wire.sendmsg) == 4
    assert buffer.size == 5
    assert b"".join(buffer.chunks) == b"efghi"


def test_nothing_is_dropped_when_the_call_fails() -> None:
    def fail(data: object) -> int:
        raise BlockingIOError

    for chunks in ([b"a"], [b"a", b"b"], [b"a", BIG]):
        buffer = filled(*chunks)
        with pytest.raises(BlockingIOError):
            buffer.send_to(fail, fail)
        assert buffer.size == sum(map(len, chunks))
        assert b"".join(buffer.chunks) == b"".join(chunks)


def test_clear_drops_everything() -> None:
    buffer = filled(b"a", b"b")
    buffer.clear()
    assert (buffer.size, buffer.chunks) == (0, [])


@given(
    sizes=st.lists(st.sampled_from([1, 7, 1000, JOIN_BELOW - 1, JOIN_BELOW, 50_000]), max_size=90),
    takes=st.sampled_from([None, 900, 40_000]),
    sendmsg=st.booleans(),
)
def test_everything_leaves_in_order(sizes: list[int], takes: int | None, sendmsg: bool) -> None:
    chunks = [bytes([65 + index % 26]) * size for index, size in enumerate(sizes)]
    assert drain(filled(*chunks), Wire(takes), sendmsg=sendmsg) == b"".join(chunks)


@pytest.mark.parametrize("data", ["caf\u00e9", b"caf\xc3\xa9", bytearray(b"caf\xc3\xa9")], ids=repr)
def test_data_is_taken_as_str_or_bytes(data: Any) -> None:
    assert to_bytes(data) == b"caf\xc3\xa9"


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int"):
        to_bytes(7)  # type: ignore[arg-type]
