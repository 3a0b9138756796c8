"""The benchmark's own clients, programs and harness in one process: that they measure something."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import tls_support

from bench import clients, harness, inprocess, micro, steps, tracing
from bench.configurations import program
from bench.harness import BenchError, Server
from bench.peers import PEERS, Peer, Place
from bench.scenarios import ROLES, Program
from thor.http.wire import fields, writer


@contextmanager
def running(peer: Peer, folder: Path) -> Iterator[Server]:
    """A peer, as the benchmark starts it, with a certificate where its role needs one."""
    if missing := peer.missing():
        pytest.skip(missing)
    files: tuple[str, ...] = ()
    if ROLES[peer.role].tls:
        files = tls_support.issued(tls_support.NAME).write(folder)
    (folder / "large").write_bytes(bytes(clients.LARGE_BYTES))
    place = Place(harness.free_port(), 0, folder, *files)
    core, _ = harness.cores()
    env = {"PYTHONPATH": "", **dict(peer.env)}
    server = Server(peer.command(place), place.port, core, env, bool(files))
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _named(name: str, role: str) -> Peer:
    return next(peer for peer in PEERS if (peer.name, peer.role) == (name, role))


SERVED = [
    pytest.param(
        peer,
        marks=[pytest.mark.interop] if peer.needs in ("nginx", "node") else [],
        id=f"{peer.role}-{peer.name}",
    )
    for peer in PEERS
    if peer.role in ("server", "tls") and peer.needs in ("", "native", "nginx", "node")
]


@pytest.mark.parametrize("peer", SERVED)
def test_peer_answers_what_the_scenarios_ask(peer: Peer, tmp_path: Path) -> None:
    with running(peer, tmp_path) as server, ExitStack() as stack:
        clients.check(server)
        clients.download(server, "/large", clients.LARGE_BYTES, 2)
        clients.upload(server, "/", clients.LARGE_BYTES, 2)
        clients.ask_all(clients.open_idle(server, 3, stack))


@pytest.mark.parametrize("name", ["thor", pytest.param("nginx", marks=pytest.mark.interop)])
def test_handshakes_are_made_in_full_and_resumed(name: str, tmp_path: Path) -> None:
    with running(_named(name, "tls"), tmp_path) as server:
        session = clients.shake(server)
        assert session is not None
        assert clients.shake(server, session) is not None


@pytest.mark.interop
def test_certificate_is_made_by_openssl(tmp_path: Path) -> None:
    certificate, key = clients.make_certificate(tmp_path)
    assert "BEGIN CERTIFICATE" in Path(certificate).read_text()
    assert "PRIVATE KEY" in Path(key).read_text()


@pytest.mark.interop
def test_system_calls_are_counted(tmp_path: Path) -> None:
    if program("strace") is None:
        pytest.skip("strace is not installed")
    with running(_named("thor", "server"), tmp_path) as server:
        calls = tracing.measure_calls(server, 4)
    assert calls.names["recvfrom"] == pytest.approx(1, abs=0.1)
    assert calls.names["sendto"] == pytest.approx(1, abs=0.1)


# -- answers that are none -----------------------------------------------------------------------


@contextmanager
def answering(answer: bytes) -> Iterator[Server]:
    """Stands for a server: says the same to the first client, and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with listener.accept()[0] as client:
                client.recv(65536)
                client.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Server([], listener.getsockname()[1], 0)
        finally:
            thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "exc"),
    [
        pytest.param(b"", "answered b''", id="nothing"),
        pytest.param(HEAD + b"ab", "only 2 bytes came", id="cut-short"),
        pytest.param(HEAD.replace(b"4", b"5") + b"abcde", "without the length", id="other-length"),
        pytest.param(HEAD.replace(b"200", b"404") + b"abcd", "answered b'HTTP/1.1 404", id="404"),
    ],
)
def test_download_that_fails_is_told(answer: bytes, exc: str) -> None:
    with answering(answer) as server, pytest.raises(BenchError, match=exc):
        clients.download(server, "/", 4, 1)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nabcd\r\n0\r\n\r\n"


@pytest.mark.parametrize("answer", [HEAD + b"abcd", CHUNKED], ids=["length", "chunked"])
def test_download_reads_to_the_end(answer: bytes) -> None:
    with answering(answer) as server:
        clients.download(server, "/", 4, 1)


# -- programs ------------------------------------------------------------------------------------


def test_program_has_the_figure_that_it_prints(tmp_path: Path) -> None:
    core, _ = harness.cores()
    good = Program([sys.executable, "-c", "import sys; print(len(sys.argv))"], 0, core)
    assert good.figure("a", "b") == 3.0
    bad = Program([sys.executable, "-c", "raise SystemExit('no such part')"], 0, core)
    with pytest.raises(BenchError, match="no such part"):
        bad.figure()


@pytest.mark.parametrize("what", ["emit", "call"])
@pytest.mark.parametrize("arguments", [0, 1, 3])
def test_events_and_calls_are_measured(
    what: str, arguments: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(micro, "EVENTS", 1000)
    assert micro.time_event(what, arguments) > 0


@pytest.mark.parametrize("what", micro.TIMERS)
def test_timers_are_measured(what: str) -> None:
    assert micro.time_timers(what, pending=50, changes=20) > 0


REQUESTS = 640


@pytest.mark.parametrize("make_server", [inprocess.serve, inprocess.forward])
def test_requests_are_answered_in_one_process(make_server: object) -> None:
    assert inprocess.run(make_server, inprocess.TWELVE_FIELDS, REQUESTS) > 0


@pytest.mark.interop
def test_requests_are_answered_in_one_process_over_tls() -> None:
    assert inprocess.run_secure(inprocess.serve, inprocess.ONE_FIELD, REQUESTS) > 0


def test_without_caches_no_line_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in (
        (fields, "_MAX_LINE_BYTES"),
        (writer, "_MAX_LINE_BYTES"),
        (writer, "_MAX_LENGTH_DIGITS"),
    ):
        monkeypatch.setattr(module, name, getattr(module, name))
    inprocess.clear_line_cache()
    inprocess.run(inprocess.forward, inprocess.TWELVE_FIELDS, REQUESTS)
    assert fields._line_cache == {}
    assert writer._line_cache == {}


@pytest.mark.parametrize("what", ["server", "proxy"])
def test_every_step_of_a_request_is_passed(what: str) -> None:
    found = dict(steps.measure(what, 1, REQUESTS))
    expected = steps.SERVER_STEPS if what == "server" else steps.PROXY_STEPS
    assert [text for text in expected.values() if not found[text] > 0] == []
    assert found[steps.IN_ALL] == pytest.approx(
        sum(us for text, us in found.items() if text not in (steps.IN_ALL, steps.READER))
    )


def test_command_measures_prints_and_keeps_what_was_asked_for(tmp_path: Path) -> None:
    argv = ["--only", "emit-0", "--peers", "thor,call", "--repeat", "1", "--json", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "bench.run", *argv],
        cwd=harness.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "An event without arguments\n" in done.stdout
    assert "\na plain call  " in done.stdout
    assert "What is to be reached\n" in done.stdout
    whole = json.loads((tmp_path / "emit-0.json").read_text())
    assert [result["peer"] for result in whole["results"]] == ["thor", "call"]
    assert any(fact.startswith("Python ") for fact in whole["facts"])
