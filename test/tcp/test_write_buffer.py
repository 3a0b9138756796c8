"""The queue of what is to be sent, over a socket that takes what the test says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thor.tcp.write_buffer import EMPTY_BUFFER, MAX_CHUNKS, MAX_JOIN_BYTES, WriteBuffer

BIG = b"b" * MAX_JOIN_BYTES


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

    def sendmsg(self, pieces: Sequence[Any]) -> int:
        self.calls.append(list(pieces))
        taken = b"".join(pieces)[: self.takes]
        self.got += taken
        return len(taken)


def filled(*chunks: bytes) -> WriteBuffer:
    buffer = WriteBuffer()
    buffer.extend(chunks)
    buffer.size = sum(map(len, chunks))
    return buffer


def drain(buffer: WriteBuffer, wire: Wire) -> bytes:
    while buffer.size:
        buffer.send_to(wire)
    return wire.got


def test_nobody_s_queue_takes_nothing() -> None:
    queue: Any = EMPTY_BUFFER
    with pytest.raises(AssertionError):
        queue.append(b"x")
    with pytest.raises(AssertionError):
        queue += [b"x"]
    assert (list(EMPTY_BUFFER), EMPTY_BUFFER.size) == ([], 0)


def test_one_chunk_is_sent_as_it_is() -> None:
    wire = Wire()
    assert filled(BIG).send_to(wire) == len(BIG)
    assert wire.calls[0] is BIG


def test_small_chunks_leave_joined() -> None:
    wire = Wire()
    filled(b"a", b"b", b"c").send_to(wire)
    assert wire.calls == [b"abc"]


def test_large_chunks_leave_without_a_copy() -> None:
    wire = Wire()
    filled(b"head", BIG).send_to(wire)
    assert wire.calls == [[b"head", BIG]]
    assert wire.calls[0][1] is BIG


def test_of_very_many_chunks_a_large_one_leaves_alone_and_small_ones_joined() -> None:
    wire = Wire()
    rest = [b"a", b"b", BIG] + [b"c"] * MAX_CHUNKS
    buffer = filled(BIG, *rest)
    buffer.send_to(wire)
    buffer.send_to(wire)
    assert wire.calls[0] is BIG
    assert wire.calls[1] == b"ab" + BIG[:-2]
    assert drain(buffer, wire) == BIG + b"".join(rest)


def test_very_many_small_chunks_do_not_leave_a_few_at_a_time() -> None:
    wire = Wire()
    pieces = [b"%05d" % number for number in range(20_000)]
    assert drain(filled(*pieces), wire) == b"".join(pieces)
    assert len(wire.calls) <= 100_000 // MAX_JOIN_BYTES + 2


def test_kernel_never_gets_too_many_pieces() -> None:
    wire = Wire()
    drain(filled(*[b"x" * 1000] * 500), wire)
    assert max(len(call) for call in wire.calls if isinstance(call, list)) <= MAX_CHUNKS


def test_what_was_taken_is_dropped_and_counted() -> None:
    wire = Wire(takes=4)
    buffer = filled(b"abc", b"def", b"ghi")
    assert buffer.send_to(wire) == 4
    assert buffer.size == 5
    assert b"".join(buffer) == b"efghi"


def test_nothing_is_dropped_when_the_call_fails() -> None:
    class Full(Wire):
        def send(self, data: Any) -> int:
            raise BlockingIOError

        sendmsg = send  # type: ignore[assignment]

    for chunks in ([b"a"], [b"a", b"b"], [b"a", BIG]):
        buffer = filled(*chunks)
        with pytest.raises(BlockingIOError):
            buffer.send_to(Full())
        assert buffer.size == sum(map(len, chunks))
        assert b"".join(buffer) == b"".join(chunks)


def test_clear_drops_everything() -> None:
    buffer = filled(b"a", b"b")
    buffer.clear()
    assert (buffer.size, list(buffer)) == (0, [])


@given(
    sizes=st.lists(
        st.sampled_from([1, 7, 1000, MAX_JOIN_BYTES - 1, MAX_JOIN_BYTES, 50_000]), max_size=90
    ),
    takes=st.sampled_from([None, 900, 40_000]),
)
def test_everything_leaves_in_order(sizes: list[int], takes: int | None) -> None:
    chunks = [bytes([65 + index % 26]) * size for index, size in enumerate(sizes)]
    assert drain(filled(*chunks), Wire(takes)) == b"".join(chunks)
