"""How plain bytes are cut before they are encrypted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thor.tls.records import MAX_PIECE_BYTES, MAX_RECORD_BYTES, iter_pieces


@pytest.mark.parametrize(
    ("sizes", "skip", "expected"),
    [
        pytest.param([], 0, [], id="nothing"),
        pytest.param([5], 0, [5], id="one"),
        pytest.param([5], 5, [], id="all-skipped"),
        pytest.param([5, 6], 3, [8], id="part-of-the-first-skipped"),
        pytest.param([5, 6], 5, [6], id="the-first-skipped"),
        pytest.param([1, 2, 3], 0, [6], id="small-ones-are-joined"),
        pytest.param([MAX_RECORD_BYTES - 1, 1], 0, [MAX_RECORD_BYTES], id="a-full-record"),
        pytest.param(
            [MAX_RECORD_BYTES - 1, 2], 0, [MAX_RECORD_BYTES - 1, 2], id="no-more-than-a-record"
        ),
        pytest.param(
            [3, MAX_RECORD_BYTES, 4], 0, [3, MAX_RECORD_BYTES, 4], id="large-ones-are-not"
        ),
        pytest.param([MAX_PIECE_BYTES + 1], 0, [MAX_PIECE_BYTES, 1], id="a-large-one-is-sliced"),
        pytest.param(
            [2 * MAX_PIECE_BYTES], 1, [MAX_PIECE_BYTES, MAX_PIECE_BYTES - 1], id="and-skipped-into"
        ),
    ],
)
def test_pieces(sizes: list[int], skip: int, expected: list[int]) -> None:
    chunks = [bytes(size) for size in sizes]
    assert [len(piece) for piece in iter_pieces(chunks, skip)] == expected


@given(
    st.lists(
        st.integers(1, 3 * MAX_RECORD_BYTES).map(lambda n: bytes(range(256)) * (n // 256 + 1))
    ),
    st.integers(0, 200_000),
)
def test_pieces_are_the_rest_of_the_stream(chunks: list[bytes], skip: int) -> None:
    stream = b"".join(chunks)
    found = list(iter_pieces(chunks, skip))
    assert b"".join(found) == stream[skip:]
    assert all(0 < len(piece) <= MAX_PIECE_BYTES for piece in found)


def test_large_chunk_is_not_copied() -> None:
    chunk = bytes(3 * MAX_PIECE_BYTES)
    assert [piece.obj is chunk for piece in iter_pieces([chunk], 10)] == [True] * 3  # type: ignore[union-attr]
