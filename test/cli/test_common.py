"""What the commands share."""

from __future__ import annotations

import argparse
import os
import signal
import threading
from typing import Any

import pytest

from thor.cli.common import GracefulRunner, address, seconds, write_all


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("localhost:0", ("localhost", 0)),
        (":8080", ("", 8080)),
        ("[::1]:80", ("::1", 80)),
    ],
)
def test_addresses(text: str, expected: tuple[str, int]) -> None:
    assert address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "80", "a:", "a:b", "a:65536", "::1:80", "a:\u0661", "a:" + "9" * 5000]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        address(text)


@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "inf", "1e10"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="seconds"):
        seconds(text)


def test_long_write_waits_for_its_reader() -> None:
    readable, writable = os.pipe()
    read: list[bytes] = []

    def drain() -> None:
        while data := os.read(readable, 65536):
            read.append(data)

    reader = threading.Thread(target=drain)
    reader.start()
    write_all(writable, b"x" * 1_000_000)
    os.close(writable)
    reader.join()
    os.close(readable)
    assert b"".join(read) == b"x" * 1_000_000


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_in_good_order(make_loop: Any, number: int) -> None:
    loop = make_loop()
    asked: list[bool] = []

    def stop() -> None:
        asked.append(loop.running)
        loop.schedule(0, loop.stop)

    before = signal.getsignal(number)
    loop.schedule(0, os.kill, os.getpid(), number)
    GracefulRunner(loop, stop, 30.0).run()
    assert asked == [True]
    assert signal.getsignal(number) is before


def test_second_signal_ends_at_once(make_loop: Any) -> None:
    loop = make_loop()
    asked: list[bool] = []

    def stop() -> None:
        asked.append(True)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.schedule(0, os.kill, os.getpid(), signal.SIGTERM)
    GracefulRunner(loop, stop, 30.0).run()
    assert asked == [True]


def test_draining_is_bounded(make_loop: Any, capsys: pytest.CaptureFixture[str]) -> None:
    loop = make_loop()
    loop.schedule(0, os.kill, os.getpid(), signal.SIGTERM)
    GracefulRunner(loop, lambda: None, 0.01).run()
    assert "requests in flight" in capsys.readouterr().err
