"""`thor proxy` and `thor demo`."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from cli_support import ask_together, complains, few_descriptors, here, running, thor

from thor_support import ROOT

TRUST = "argument --trust: 'x' is no network, such as 10.0.0.0/8"


def get(url: str) -> bytes:
    with urlopen(url, timeout=10) as response:
        data: bytes = response.read()
    return data


def test_requests_go_to_the_origins_in_turn(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "name").write_text(name)
    anywhere = ("--listen", "127.0.0.1:0")
    with (
        running("serve", str(tmp_path / "one"), *anywhere) as one,
        running("serve", str(tmp_path / "two"), *anywhere) as two,
        running("proxy", "--to", one.url, "--to", two.url, "--access-log", *anywhere) as proxy,
    ):
        assert proxy.said == f"thor: forwarding {proxy.url}/ to {one.url}, {two.url}\n"
        seen = Counter(get(f"{proxy.url}/name") for _ in range(4))
        assert seen == {b"one": 2, b"two": 2}
        proxy.signal(signal.SIGTERM)
        code, out, err = proxy.end()
    assert (code, err) == (0, "")
    lines = out.decode().splitlines()
    assert len(lines) == 4
    assert all('"GET /name HTTP/1.1" 200 3' in line for line in lines)


def test_proxy_with_few_descriptors_answers_every_client(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(8 << 20)  # more than the buffers take: connections to the origin stay open
    listen = ("--listen", "127.0.0.1:0")
    with (
        running("serve", str(tmp_path), *listen) as origin,
        running("proxy", "--to", origin.url, *listen, preexec_fn=few_descriptors) as proxy,
    ):
        assert set(ask_together(proxy.port, "/large", 60)) == {b"HTTP/1.1 200 OK"}


def test_refused_requests_are_in_the_access_log() -> None:
    to = ("--to", "http://127.0.0.1:9", "--listen", "127.0.0.1:0")
    with running("proxy", "--access-log", *to) as proxy:
        with socket.create_connection((proxy.host, proxy.port), 10) as client:
            client.sendall(b"GET /\x1b[31m HTTP/1.1\r\n\r\n")
            assert client.recv(65536).startswith(b"HTTP/1.1 400 Bad Request\r\n")
        proxy.signal(signal.SIGTERM)
        _, out, err = proxy.end()
    (line,) = out.decode().splitlines()
    assert line.isprintable()
    assert re.fullmatch(r'127\.0\.0\.1 - - \[.*\] "-" 400 12 "-" "-" - - \w+Error', line)
    assert err == ""


def test_proxy_goes_on_when_the_reader_of_its_access_log_leaves() -> None:
    to = ("--to", "http://127.0.0.1:9", "--listen", "127.0.0.1:0")
    with running("proxy", "--access-log", *to) as proxy:
        assert proxy.process.stdout is not None
        proxy.process.stdout.close()
        proxy.process.stdout = None
        with pytest.raises(HTTPError, match="502"):
            get(proxy.url)
        said = "thor: the access log ends here, nothing more is written: Broken pipe\n"
        assert proxy.process.stderr is not None
        assert proxy.process.stderr.readline().decode() == said
        with pytest.raises(HTTPError, match="502"):
            get(proxy.url)
        proxy.signal(signal.SIGTERM)
        code, _, err = proxy.end()
    assert (code, err) == (0, "")


def test_proxy_forwards_though_nobody_reads_its_access_log() -> None:
    to = ("--to", "http://127.0.0.1:9", "--listen", "127.0.0.1:0")
    request = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % (b"a" * 900)
    with running("proxy", "--access-log", *to) as proxy:
        with socket.create_connection((proxy.host, proxy.port), 10) as client:
            for _ in range(200):  # more than a pipe holds
                client.sendall(request)
                assert client.recv(65536).startswith(b"HTTP/1.1 502 ")
        proxy.signal(signal.SIGTERM)
        code, out, err = proxy.end()
    assert (code, len(out.splitlines()), err) == (0, 200, "")


def test_origin_that_is_down_is_a_502_and_no_reason_to_stop() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        origin = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with running("proxy", "--to", origin, "--listen", "127.0.0.1:0") as proxy:
            for _ in range(2):
                result = thor("fetch", "-i", proxy.url)
                assert result.out.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
                assert b"error=connection_refused" in result.out
            proxy.signal(signal.SIGTERM)
            assert proxy.end() == (0, b"", "")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param(["--to", "unix:a"], "names no Unix socket", id="unix"),
        pytest.param(["--to", "a:80"], "must be http://", id="no-scheme"),
        pytest.param(["--to", "http://a:x"], "port", id="port"),
        pytest.param(["--to", "http://a", "--to", "http://a:80"], "twice", id="twice"),
        pytest.param(["--to", "http://127.0.0.1:9", "--trust", "x"], TRUST, id="trust"),
    ],
)
def test_wrong_use(args: list[str], says: str) -> None:
    complains(here("proxy", *args), 2, says)


def test_proxy_fails_at_start_if_no_origin_resolves() -> None:
    result = here("proxy", "--to", "http://a.invalid", "--to", "http://b.invalid")
    complains(result, 1, "cannot resolve 'a.invalid'")
    assert "cannot resolve 'b.invalid'" in result.err


def test_proxy_warns_of_one_origin_of_two_that_does_not_resolve(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("up")
    anywhere = ("--listen", "127.0.0.1:0")
    with (
        running("serve", str(tmp_path), *anywhere) as up,
        running("proxy", "--to", "http://a.invalid", "--to", up.url, *anywhere) as proxy,
    ):
        [warning] = proxy.warnings
        assert warning.startswith("thor: cannot resolve 'a.invalid': ")
        assert [get(f"{proxy.url}/name") for _ in range(2)] == [b"up", b"up"]
        proxy.signal(signal.SIGTERM)
        assert proxy.end() == (0, b"", "")


def test_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        result = here("proxy", "--to", "http://127.0.0.1:9", "--listen", where)
    complains(result, 1, f"cannot listen on {where}: Address already in use")


def test_second_signal_ends_it_at_once() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as origin,
        running(
            "proxy",
            "--to",
            f"http://127.0.0.1:{origin.getsockname()[1]}",
            "--listen",
            "127.0.0.1:0",
        ) as proxy,
        socket.create_connection((proxy.host, proxy.port), 10) as client,
    ):
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        upstream, _ = origin.accept()
        with upstream:
            upstream.settimeout(10)
            assert upstream.recv(65536).startswith(b"GET / HTTP/1.1\r\n")
            proxy.signal(signal.SIGTERM)
            # It has begun to stop when it accepts no more.
            while True:
                try:
                    socket.create_connection((proxy.host, proxy.port), 10).close()
                except ConnectionError:
                    break
            assert proxy.process.poll() is None
            proxy.signal(signal.SIGTERM)
            assert proxy.end() == (0, b"", "")


def test_demo_shows_the_proxy_at_work() -> None:
    code, out, err = thor("demo", "--once")
    assert (code, err) == (0, "")
    text = out.decode()
    assert len(re.findall(r"GET /request/\d -> origin [AB]: 200", text)) == 6
    assert "Answers by origin: A: 3, B: 3." in text
    assert text.endswith("Stopped.\n")


def test_demo_goes_on_without_a_reader() -> None:
    readable, writable = os.pipe()
    os.close(readable)
    process = subprocess.Popen(
        [sys.executable, "-m", "thor", "demo", "--once"],
        stdout=writable,
        stderr=subprocess.PIPE,
        cwd=ROOT,
    )
    os.close(writable)
    _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (0, b"")


def test_demo_ends_by_itself_or_by_a_signal() -> None:
    assert thor("demo", "--seconds", "0.1").out.endswith(b"Stopped.\n")


def test_demo_s_port_may_be_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"127.0.0.1:{taken.getsockname()[1]}"
        complains(here("demo", "--once", "--listen", where), 1, "Address already in use")
