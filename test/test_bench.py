"""The harness of the benchmark: its pure functions, and that it ends what it starts."""

from __future__ import annotations

import os
import select
import socket
import sys
from pathlib import Path

import pytest

from bench import harness, importtime, losses, run, tls_soak, udp
from bench.harness import BenchError, Server
from bench.peers import PEERS, Peer, Place
from bench.scenarios import ROLES, SCENARIOS, Options, Program, Scenario

WRK = """\
Running 3s test @ http://127.0.0.1:8000/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   432.76us  105.93us   3.58ms   92.18%
    Req/Sec   148.24k     8.11k  160.25k    80.65%
  457181 requests in 3.10s, 65.40MB read
{more}Requests/sec: 147483.67
Transfer/sec:     21.10MB
"""


@pytest.mark.parametrize(
    ("more", "errors"),
    [
        pytest.param("", 0, id="clean"),
        pytest.param(
            "  Socket errors: connect 1, read 20, write 300, timeout 4000\n", 4321, id="socket"
        ),
        pytest.param("  Non-2xx or 3xx responses: 7\n", 7, id="status"),
    ],
)
def test_report_of_wrk_is_read_with_its_errors(more: str, errors: int) -> None:
    assert harness.parse_wrk(WRK.format(more=more)) == (457181, 147483.67, errors)


def test_output_that_is_no_report_of_wrk_is_refused() -> None:
    with pytest.raises(ValueError, match="not a report"):
        harness.parse_wrk("unable to connect to 127.0.0.1:8000 Connection refused\n")


@pytest.mark.parametrize("name", ["nginx", "a b", "tricky) R 1 (2"])
def test_stat_line_is_read_whatever_the_program_is_called(name: str) -> None:
    times = " ".join(str(harness.TICKS_PER_S * seconds) for seconds in (1, 2, 4, 8))
    line = f"42 ({name}) S 1 42 77 0 -1 4194560 9 9 0 0 {times} 20 0"
    assert harness.parse_stat(line) == (77, 5.0, 10.0)


def test_proportional_set_size_is_in_bytes() -> None:
    text = "Rss:  9 kB\nPss:                1234 kB\nPss_Anon:  5 kB\n"
    assert harness.parse_pss_bytes(text) == 1234 * 1024


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        pytest.param([3.0, 100.0, 2.0], [1.0, 2.0, 0.1], 3.0, id="medians"),
        pytest.param([], [1.0], None, id="nothing-of-ours"),
        pytest.param([1.0], [], None, id="nothing-of-theirs"),
        pytest.param([1.0], [0.0], None, id="below-what-can-be-measured"),
    ],
)
def test_ratio(ours: list[float], theirs: list[float], expected: float | None) -> None:
    assert harness.ratio(ours, theirs) == expected


def test_table_aligns_its_columns() -> None:
    assert harness.table(["", "us"], [["nginx", "7.0"], ["x", "12.5"]]) == (
        "         us\nnginx   7.0\nx      12.5"
    )


def test_browser_head_has_the_size_that_is_announced() -> None:
    fields = harness.BROWSER_FIELDS
    assert len(fields) == 11  # and Host
    assert 650 <= sum(len(line) + 2 for line in fields) <= 800


def test_peer_that_is_gone_ends_its_own_row_alone(tmp_path: Path) -> None:
    def sample(server: object, options: Options) -> float:
        if server == "gone":
            raise FileNotFoundError(2, "No such file or directory", "/proc/1234567/smaps_rollup")
        return 7.0

    one, other = (Peer(name, "udp", "", lambda place: []) for name in ("one", "other"))
    options = Options(seconds=1, connections=1, idle=1, crowd=1, load_core=0)
    with run.Stage("udp", tmp_path, 0, options) as stage:
        stage.running = {"one": "gone", "other": "there"}  # type: ignore[dict-item]
        scenario = Scenario("x", "X", "udp", "us", sample)
        first, second = stage.measure(scenario, [one, other], repeat=2)
    assert "smaps_rollup" in str(first.why_not)
    assert (second.samples, second.why_not) == ([7.0, 7.0], None)


def test_choosing_takes_thor_along_unless_peers_are_named() -> None:
    wanted, peers = run.chosen("proxy", "")
    assert [scenario.name for scenario in wanted] == ["proxy"]
    assert peers == list(PEERS)
    assert {peer.name for peer in run.chosen("", "nginx,haproxy")[1]} == {"nginx", "haproxy"}


@pytest.mark.parametrize(
    ("only", "peers", "roles"),
    [("nonesuch", "", ""), ("", "nonesuch", ""), ("", "", "nonesuch")],
    ids=["scenario", "peer", "role"],
)
def test_choosing_what_does_not_exist_names_what_does(only: str, peers: str, roles: str) -> None:
    with pytest.raises(ValueError, match=r"no (scenario|peer|role) nonesuch; there are .*"):
        run.chosen(only, peers, roles)


def test_choosing_a_role_takes_its_scenarios() -> None:
    assert {scenario.name for scenario in run.chosen("", "", "tls")[0]} == {
        "tls",
        "handshake",
        "resumed",
    }


def test_every_scenario_has_a_peer_of_ours() -> None:
    for scenario in SCENARIOS:
        assert any(peer.ours and peer.role == scenario.role for peer in PEERS)


@pytest.mark.parametrize(
    "peer",
    [peer for peer in PEERS if ROLES[peer.role].subject is not Program],
    ids=lambda peer: f"{peer.role}-{peer.name}",
)
def test_command_of_each_peer_names_its_ports_and_its_certificate(
    peer: Peer, tmp_path: Path
) -> None:
    role = ROLES[peer.role]
    pem = [tmp_path / "certificate.pem", tmp_path / "key.pem"]
    for path in pem:
        path.write_text(path.name)
    files = [str(path) for path in pem] if role.tls else []
    argv = peer.command(Place(4711, 4712 if role.origin else 0, tmp_path, *files))
    texts = [*argv, *(path.read_text() for path in tmp_path.iterdir() if path not in pem)]
    assert any("4711" in text for text in texts)
    assert any("4712" in text for text in texts) == role.origin
    for path in pem if role.tls else []:
        assert any(path.name in text for text in texts)


def _server(code: str) -> Server:
    core, _ = harness.cores()
    return Server([sys.executable, "-c", code], harness.free_port(), core)


def test_server_that_ends_early_is_reported_with_its_last_words() -> None:
    server = _server("raise SystemExit('no such option')")
    try:
        with pytest.raises(BenchError, match="ended with 1: no such option"):
            server.start()
    finally:
        server.stop()


STUBBORN_CHILD = """
import os, signal, socket
while sum(os.times()[:2]) < 0.1:  # what is counted in ticks has to be a few of them
    pass
listener = socket.create_server(("127.0.0.1", {port}))
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    listener.accept()[0].close()
"""


@pytest.mark.parametrize("name", ["thor", "asyncio"])
def test_echo_of_datagrams_is_measured(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(udp, "WARM_UP", 8)
    core, _ = harness.cores()
    port = harness.free_port()
    argv = [sys.executable, str(udp.APPS / f"udp_{name}.py"), str(port)]
    server = udp.EchoServer(argv, port, core)
    try:
        server.start()
        result = udp.measure(server, datagrams=100, window=4, payload=b"x" * 64)
    finally:
        server.stop()
    assert result.per_s > 0
    assert result.fds == 0


def test_datagram_that_does_not_come_back_is_reported() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        with (
            udp.open_client(port, 0.01) as client,
            pytest.raises(BenchError, match="did not come back"),
        ):
            udp.exchange(client, 2, 1, b"x")


def test_closing_origin_responds_and_closes_without_announcing_it() -> None:
    core, _ = harness.cores()
    port = harness.free_port()
    argv = [sys.executable, str(harness.APPS / "closing_origin.py"), str(port), "1", "0"]
    server = Server(argv, port, core)
    try:
        server.start()
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
            client.sendall(b"ab")
            received = b"".join(iter(lambda: client.recv(1024), b""))
    finally:
        server.stop()
    assert received.startswith(b"HTTP/1.1 200 ")
    assert received.endswith(b"\r\n\r\nHello, world!")
    assert b"connection" not in received.lower()


def test_check_of_a_pooled_connection_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(losses, "CHECKS", 10)
    assert losses.measure_check_us() > 0


def test_whole_session_is_counted_and_ended() -> None:
    server = _server("")
    server.argv = [sys.executable, "-c", STUBBORN_CHILD.format(port=server.port)]
    ends: list[int] = []
    try:
        server.start()
        assert server.process is not None
        ends += [os.pidfd_open(pid) for pid in harness.session_stats(server.process.pid)]
        assert len(ends) == 2
        assert sum(server.cpu_s()) >= 0.09
        assert server.pss_bytes() > 0
        assert [count >= 1 for count in server.sockets().values()] == [True, True]
    finally:
        server.stop()
    for end in ends:
        assert select.select([end], [], [], 10.0)[0], "a process outlived its session"
        os.close(end)
    assert not harness.accepts(server.port)


# -- TLS handshakes -----------------------------------------------------------------------------


def test_handshakes_of_each_kind_are_made_and_leave_no_descriptor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tls_soak, "WARM_UP", 12)
    before = tls_soak.footprint()[0]
    found = tls_soak.soak(24, 12)
    assert not [each for each in found if "descriptors" in each]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["12", "24"]
    assert tls_soak.footprint()[0] == before


def test_what_has_grown_is_told_and_slack_is_not() -> None:
    before = (10, 1000, 5_000_000)
    assert tls_soak.grown(before, (10, 1100, 6_000_000)) == []
    assert tls_soak.grown(before, (11, 2000, 9_000_000)) == [
        "+1 descriptors",
        "+1,000 objects",
        "+4,000,000 bytes",
    ]


# -- importing -----------------------------------------------------------------------------------


def test_import_is_measured_in_a_process_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importtime, "STATEMENTS", ("import asyncio", "import thor"))
    assert importtime.main(["--rounds", "1"]) == 0
    head, peer, ours = capsys.readouterr().out.splitlines()
    assert head.split()[:3] == ["statement", "import", "ms"]
    assert peer.split()[:2] == ["import", "asyncio"]
    assert peer.split()[3] == "1.00"
    assert all(float(figure) > 0 for figure in ours.split()[2:])
