"""`thor proxy` between curl and Node: every shape of message."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from cli_support import Running
from interop_data import PATTERN, Message, Wire, item, sha256
from interop_support import Served, curl, fields_of, interop

pytestmark = interop

UPLOAD = item("upload", 3_000_000)


def test_get(proxy: Running) -> None:
    reply = curl(f"{proxy.url}/item/a?size=100000")
    assert (reply.code, reply.statuses, reply.body) == (0, [200], item("a", 100_000))
    assert reply.head["content-length"] == "100000"
    assert reply.head["x-origin"] == "node"
    assert reply.head["via"].startswith("1.1 thor-")


def test_what_the_origin_is_told_of_the_client(proxy: Running, node: Served) -> None:
    said = curl("-A", "me", "-H", "X-Forwarded-For: 192.0.2.1", f"{proxy.url}/echo?a=%2F..").json
    assert (said["method"], said["target"], said["version"]) == ("GET", "/echo?a=%2F..", "1.1")
    assert fields_of(said, "host") == [f"127.0.0.1:{proxy.port}"]
    assert fields_of(said, "user-agent") == ["me"]
    assert fields_of(said, "x-forwarded-for") == ["127.0.0.1"]
    assert fields_of(said, "x-forwarded-proto") == ["http"]


def test_chunked_response(proxy: Running) -> None:
    reply = curl(f"{proxy.url}/item/b?size=100000&chunked=1")
    assert (reply.code, reply.status, reply.body) == (0, 200, item("b", 100_000))
    assert reply.head["transfer-encoding"] == "chunked"


def test_head(proxy: Running) -> None:
    url = f"{proxy.url}/item/a?size=100000"
    reply = curl("-I", url, url)
    assert (reply.code, reply.statuses, reply.made) == (0, [200, 200], 1)
    assert [head["content-length"] for head in reply.heads] == ["100000"] * 2


@pytest.mark.parametrize("status", [204, 304])
def test_response_without_a_body(proxy: Running, status: int) -> None:
    url = f"{proxy.url}/status/{status}"
    reply = curl(url, url)
    assert (reply.code, reply.statuses, reply.body, reply.made) == (0, [status, status], b"", 1)
    assert reply.head["etag"] == '"a"'


def test_encoded_body_is_left_alone(proxy: Running) -> None:
    reply = curl(f"{proxy.url}/gzip")
    assert reply.head["content-encoding"] == "gzip"
    assert gzip.decompress(reply.body) == item("gzip", 100_000)
    assert curl("--compressed", f"{proxy.url}/gzip").body == item("gzip", 100_000)


def test_trailers(proxy: Running) -> None:
    reply = curl("-H", "Connection: TE", "-H", "TE: trailers", f"{proxy.url}/trailers")
    assert (reply.code, reply.body) == (0, b"body")
    assert reply.head["x-digest"] == "abc"
    assert curl(f"{proxy.url}/trailers").head.all("x-digest") == []


def test_informational_response(proxy: Running) -> None:
    reply = curl(f"{proxy.url}/early")
    assert (reply.code, reply.statuses, reply.body) == (0, [103, 200], b"Hello, world!")
    assert reply.heads[0]["link"] == "</style.css>; rel=preload; as=style"


# -- uploads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000, len(UPLOAD)])
def test_upload_with_a_length(proxy: Running, size: int) -> None:
    body = UPLOAD[:size]
    said = curl("-H", "Expect:", "--data-binary", "@-", f"{proxy.url}/echo", data=body).json
    assert (said["method"], said["size"], said["sha256"]) == ("POST", size, sha256(body))
    assert fields_of(said, "content-length") == [str(size)]
    assert fields_of(said, "transfer-encoding") == []


@pytest.mark.parametrize(
    "args",
    [
        pytest.param(["-T", "-"], id="from-stdin"),
        pytest.param(
            ["-H", "Transfer-Encoding: chunked", "-X", "POST", "--data-binary", "@-"], id="asked"
        ),
    ],
)
def test_chunked_upload(proxy: Running, args: list[str]) -> None:
    said = curl("-H", "Expect:", *args, f"{proxy.url}/echo", data=UPLOAD).json
    assert (said["size"], said["sha256"]) == (len(UPLOAD), sha256(UPLOAD))
    assert fields_of(said, "transfer-encoding") == ["chunked"]
    assert fields_of(said, "content-length") == []


def test_upload_that_waits_for_the_origin_s_100(proxy: Running) -> None:
    # curl would send the body by itself after a while: here it never does.
    wait = ["-H", "Expect: 100-continue", "--expect100-timeout", "1000"]
    reply = curl(*wait, "--data-binary", "@-", f"{proxy.url}/echo", data=UPLOAD)
    assert reply.statuses == [100, 200]
    said = reply.json
    assert said["expected"] is True
    assert (said["size"], said["sha256"]) == (len(UPLOAD), sha256(UPLOAD))


def test_upload_that_the_origin_does_not_want(proxy: Running) -> None:
    wait = ["-H", "Expect: 100-continue", "--expect100-timeout", "1000"]
    reply = curl(*wait, "--data-binary", "@-", f"{proxy.url}/refuse", data=UPLOAD)
    assert (reply.code, reply.statuses, reply.body) == (0, [403], b"no\n")


def test_upload_that_is_answered_before_it_is_complete(proxy: Running) -> None:
    reply = curl("-H", "Expect:", "-T", "-", f"{proxy.url}/refuse", data=UPLOAD)
    assert (reply.status, reply.body) == (403, b"no\n")


def test_form_with_files(proxy: Running, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(PATTERN)
    said = curl("-F", f"a=@{tmp_path / 'file'}", "-F", "b=c", f"{proxy.url}/echo").json
    assert said["size"] > len(PATTERN)
    assert fields_of(said, "content-type")[0].startswith("multipart/form-data; boundary=")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"])
def test_method(proxy: Running, method: str) -> None:
    said = curl("-X", method, "-d", "x=1", f"{proxy.url}/echo").json
    assert (said["method"], said["sha256"]) == (method, sha256(b"x=1"))


def test_method_that_only_the_origin_can_judge(proxy: Running) -> None:
    reply = curl("-X", "x-unheard-of", f"{proxy.url}/echo")
    assert (reply.status, reply.head["via"][:8]) == (400, "1.1 thor")


def test_asterisk(proxy: Running) -> None:
    said = curl("-X", "OPTIONS", "--request-target", "*", proxy.url).json
    assert (said["method"], said["target"]) == ("OPTIONS", "*")


@pytest.mark.parametrize("target", ["/echo/../%2e%2e//x?a=/../", "/echo/%00%ff", "/echo/[a]{b}|"])
def test_target_goes_through_as_it_came(proxy: Running, target: str) -> None:
    assert curl("--request-target", target, proxy.url).json["target"] == target


# -- connections --------------------------------------------------------------------------------


def test_connections_are_kept_on_both_sides(proxy: Running) -> None:
    url = f"{proxy.url}/echo"
    reply = curl(url, url, url)
    assert (reply.code, reply.statuses, reply.made) == (0, [200, 200, 200], 1)
    first, second = (curl(url).json["connection"] for _ in range(2))
    assert first == second


def test_pipelined_requests_are_answered_in_order(proxy: Running) -> None:
    sizes = [5, 200_000, 0, 70_000, 1, 3000, 65_536, 2, 131_072, 7]
    with Wire.to(proxy.port) as client:
        client.send(
            b"".join(
                b"GET /item/%d?size=%d%s HTTP/1.1\r\nHost: x\r\n\r\n"
                % (number, size, b"&chunked=1" if number % 3 == 1 else b"")
                for number, size in enumerate(sizes)
            )
        )
        for number, size in enumerate(sizes):
            answer = client.message()
            assert answer.start == b"HTTP/1.1 200 OK"
            assert answer.body == item(number, size), f"answer {number}"


def test_pipelined_uploads_are_answered_in_order(proxy: Running) -> None:
    bodies = [item(number, number * 7001) for number in range(10)]
    with Wire.to(proxy.port) as client:
        for body in bodies:
            client.send(b"PUT /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body))
            client.send(body)
        for body in bodies:
            assert f'"{sha256(body)}"'.encode() in client.message().body


# -- HTTP/1.0 -----------------------------------------------------------------------------------


def test_old_client(proxy: Running) -> None:
    reply = curl("--http1.0", f"{proxy.url}/item/a?size=100000")
    assert (reply.code, reply.status, reply.body) == (0, 200, item("a", 100_000))
    assert reply.head["connection"] == "close"


def test_old_client_gets_no_chunks(proxy: Running) -> None:
    reply = curl("--http1.0", f"{proxy.url}/item/b?size=100000&chunked=1")
    assert (reply.code, reply.status, reply.body) == (0, 200, item("b", 100_000))
    assert reply.head.all("transfer-encoding") == []


def test_old_client_uploads(proxy: Running) -> None:
    said = curl("--http1.0", "--data-binary", "@-", f"{proxy.url}/echo", data=UPLOAD).json
    assert (said["version"], said["sha256"]) == ("1.1", sha256(UPLOAD))


def test_old_client_that_asks_to_keep_its_connection(proxy: Running) -> None:
    url = f"{proxy.url}/item/a"
    reply = curl("--http1.0", "-H", "Connection: keep-alive", url, url)
    assert (reply.code, reply.statuses, reply.made) == (0, [200, 200], 1)
    assert reply.head["connection"] == "keep-alive"


def test_client_without_host_or_version_1_1(proxy: Running) -> None:
    with Wire.to(proxy.port) as client:
        client.send(b"GET /item/a?size=5 HTTP/1.0\r\n\r\n")
        answer: Message = client.message()
        assert (answer.start, answer.body) == (b"HTTP/1.1 200 OK", b"<a><a")
        assert client.at_end()
