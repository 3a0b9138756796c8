"""`thor proxy` among others of its kind: nginx and Node behind it, HAProxy and nginx before it."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Running, running
from interop_data import PATTERN, item, sha256
from interop_support import (
    Served,
    curl,
    ends_well,
    fields_of,
    haproxy,
    interop,
    nginx,
    node_origin,
    wrk,
)

pytestmark = interop

ANYWHERE = ("--listen", "127.0.0.1:0")
UPLOAD = item("upload", 1_000_000)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """nginx with some files, and a place to put some."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "www").mkdir()
    (folder / "www" / "pattern").write_bytes(PATTERN)
    (folder / "www" / "page.html").write_text("<p>" + "hello " * 5000)
    with nginx(
        folder,
        f"""
        root {folder}/www;
        gzip on;
        gzip_proxied any;
        add_header X-Origin nginx;
        location /put/ {{ dav_methods PUT DELETE; create_full_put_path on; }}
        """,
    ) as served:
        yield served


@pytest.fixture(scope="module")
def to_files(files: Served) -> Iterator[Running]:
    """The proxy in front of that."""
    with running("proxy", "--to", files.url, *ANYWHERE) as proxy:
        yield proxy
        ends_well(proxy)


# -- nginx behind it ----------------------------------------------------------------------------


def test_file_of_nginx(to_files: Running) -> None:
    reply = curl(f"{to_files.url}/pattern")
    assert (reply.code, reply.status, reply.body) == (0, 200, PATTERN)
    assert reply.head["x-origin"] == "nginx"


def test_conditional_requests_and_ranges(to_files: Running) -> None:
    url = f"{to_files.url}/pattern"
    etag = curl("-I", url).head["etag"]
    reply = curl("-H", f"If-None-Match: {etag}", url)
    assert (reply.code, reply.status, reply.body) == (0, 304, b"")
    reply = curl("-r", "1000-1999", url)
    assert (reply.status, reply.body) == (206, PATTERN[1000:2000])
    assert curl("-r", "99999999-", url).status == 416


def test_compressed_and_chunked_by_nginx(to_files: Running) -> None:
    reply = curl("--compressed", f"{to_files.url}/page.html")
    assert (reply.head["content-encoding"], reply.head["transfer-encoding"]) == ("gzip", "chunked")
    assert reply.body == ("<p>" + "hello " * 5000).encode()


def test_put_and_delete_on_nginx(to_files: Running) -> None:
    url = f"{to_files.url}/put/file"
    for expect in ("Expect:", "Expect: 100-continue"):
        reply = curl("-H", expect, "-T", "-", url, data=UPLOAD)
        assert (reply.code, reply.status) in ((0, 201), (0, 204))
        assert curl(url).body == UPLOAD
    assert curl("-X", "DELETE", url).status == 204
    assert curl(url).status == 404


def test_error_pages_of_nginx(to_files: Running) -> None:
    reply = curl(f"{to_files.url}/missing", f"{to_files.url}/pattern")
    assert (reply.statuses, reply.made) == ([404, 200], 1)


# -- several origins ----------------------------------------------------------------------------


def test_two_origins_take_turns(node: Served, files: Served) -> None:
    with running("proxy", "--to", node.url, "--to", files.url, *ANYWHERE) as proxy:
        reply = curl(*[f"{proxy.url}/pattern"] * 10)
    seen = Counter(head["x-origin"] for head in reply.heads)
    assert (seen, reply.made) == ({"node": 5, "nginx": 5}, 1)


def test_prefix_of_an_origin(node: Served) -> None:
    with running("proxy", "--to", f"{node.url}/echo/", *ANYWHERE) as proxy:
        assert curl(f"{proxy.url}/a?b").json["target"] == "/echo/a?b"


# -- others before it ---------------------------------------------------------------------------


def test_haproxy_in_front(node: Served, tmp_path: Path) -> None:
    with (
        running("proxy", "--to", node.url, "--trust", "127.0.0.1", *ANYWHERE) as proxy,
        haproxy(tmp_path, proxy.port, "option forwardfor") as front,
    ):
        reply = curl("-T", "-", f"{front.url}/echo", data=UPLOAD)
        said = reply.json
        assert said["sha256"] == sha256(UPLOAD)
        assert fields_of(said, "transfer-encoding") == ["chunked"]
        assert fields_of(said, "x-forwarded-for") == ["127.0.0.1, 127.0.0.1"]
        url = f"{front.url}/item/a?size=300000"
        reply = curl(url, f"{url}&chunked=1", url)
        assert (reply.code, reply.statuses, reply.made) == (0, [200] * 3, 1)
        assert reply.body == item("a", 300_000) * 3
        reply = curl("-I", url, url)
        assert (reply.code, reply.statuses, reply.made) == (0, [200] * 2, 1)


def test_haproxy_checks_it_with_http_1_0(proxy: Running, tmp_path: Path) -> None:
    check = """
    option httpchk GET /hello HTTP/1.0
    http-check expect status 200
    timeout check 20s
    stats enable
    stats uri /stats"""
    with haproxy(tmp_path, proxy.port, check, "check inter 100ms") as front:
        seen: dict[str, str] = {}
        while seen.get("check_status", "INI").endswith("INI"):  # or "* INI": it is under way
            table = csv.DictReader(io.StringIO(curl(f"{front.url}/stats;csv").body.decode()))
            seen = next(row for row in table if row["svname"] == "thor")
    assert (seen["check_status"].removeprefix("* "), seen["check_code"]) == ("L7OK", "200")


@pytest.mark.parametrize(
    "settings",
    [
        pytest.param("", id="http-1.0"),
        pytest.param(
            'proxy_http_version 1.1; proxy_set_header Connection "";'
            "proxy_request_buffering off; proxy_buffering off;",
            id="http-1.1",
        ),
    ],
)
def test_nginx_in_front(proxy: Running, tmp_path: Path, settings: str) -> None:
    location = f"location / {{ proxy_pass {proxy.url}; {settings} }}"
    with nginx(tmp_path, location) as front:
        assert curl("-T", "-", f"{front.url}/echo", data=UPLOAD).json["sha256"] == sha256(UPLOAD)
        for query in ("size=300000", "size=300000&chunked=1"):
            reply = curl(f"{front.url}/item/a?{query}")
            assert (reply.code, reply.status, reply.body) == (0, 200, item("a", 300_000))


# -- load ---------------------------------------------------------------------------------------


def test_load_without_an_error(proxy: Running) -> None:
    load = wrk(f"{proxy.url}/hello")
    assert load.requests > 0
    assert load.errors == 0


def test_load_of_new_connections_without_an_error(proxy: Running) -> None:
    load = wrk(f"{proxy.url}/hello", "-H", "Connection: close", seconds=1)
    assert load.requests > 0
    assert load.errors == 0


def test_load_on_nginx_and_node_by_turns(files: Served) -> None:
    with (
        node_origin() as other,
        running("proxy", "--to", files.url, "--to", other.url, *ANYWHERE) as proxy,
    ):
        # 404 from Node, 200 from nginx: what wrk counts as errors is exactly every other one.
        load = wrk(f"{proxy.url}/page.html", seconds=1)
        ends_well(proxy)
    assert load.requests > 0
    assert abs(load.errors - load.requests / 2) <= 32
