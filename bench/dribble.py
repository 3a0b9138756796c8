"""What a head costs that arrives a byte at a time: in proportion to its size, or to its square?

A slow client may take 65,536 reads for one head. If each of them looked at what is there already,
four times the size would cost sixteen times as much, which is how such clients starve a server.

    python -m bench.dribble [--kib N] [--repeat N]

Prints the CPU time for a head of a quarter of the size, for the whole, and their ratio: about 4.
"""

from __future__ import annotations

import argparse
import time

from thor.http.wire.limits import Limits
from thor.http.wire.reader import RequestReader

#: Bytes of a field line, so that a head has many of them and stays within their number.
LINE_BYTES = 1024


def make_head(size: int) -> bytes:
    """Return a head of exactly `size` bytes, the empty line at its end included."""
    head = b"GET / HTTP/1.1\r\nHost: example\r\n"
    end = b"\r\n"
    number = 0
    while size - len(head) - len(end) > 2 * LINE_BYTES:
        head += (b"x-%d: " % number).ljust(LINE_BYTES - 2, b"v") + b"\r\n"
        number += 1
    return head + b"x-last: ".ljust(size - len(head) - len(end) - 2, b"v") + b"\r\n" + end


def seconds_for(head: bytes) -> float:
    """CPU seconds for one head, a byte at a time."""
    reader = RequestReader(Limits(max_head_bytes=len(head)))
    pieces = [head[index : index + 1] for index in range(len(head))]
    before = time.process_time()
    for piece in pieces:
        reader.feed(piece)
        found = reader.read_head()
    took = time.process_time() - before
    if found is None or found.head_bytes != len(head):
        raise SystemExit("the head was not read as one: the figure would say nothing")
    return took


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(prog="bench.dribble", description=__doc__.partition("\n")[0])
    parser.add_argument("--kib", type=int, default=64, help="size of the head (default: 64)")
    parser.add_argument("--repeat", type=int, default=5, help="the best of so many (default: 5)")
    args = parser.parse_args()
    times = {}
    for size in (args.kib * 256, args.kib * 1024):
        head = make_head(size)
        times[size] = min(seconds_for(head) for _ in range(args.repeat))
        each_ns = times[size] / size * 1e9
        print(f"{size:8,} bytes  {times[size] * 1e3:8.2f} ms  {each_ns:6.0f} ns/byte")
    quarter, whole = times.values()
    print(f"ratio {whole / quarter:.1f} (4 is in proportion, 16 is the square)")


if __name__ == "__main__":
    main()
