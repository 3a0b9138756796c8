"""What is answered for a file: tables of cases, without a disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thor.files.responses import (
    ResolvedPath,
    content_type,
    directory_redirect,
    file_response,
    resolve_path,
    text_response,
)
from thor.http.conditional import ByteRange

NOW = 1_700_000_000.5
MTIME_NS = 784111777_123456789
ETAG = b'"3e8-ae1b981c3a4d715"'


@pytest.mark.parametrize(
    ("target", "names", "slash"),
    [
        pytest.param(b"/", [], True, id="root"),
        pytest.param(b"/a.txt", [b"a.txt"], False, id="file"),
        pytest.param(b"/a/b.txt", [b"a", b"b.txt"], False, id="below"),
        pytest.param(b"/a/", [b"a"], True, id="directory"),
        pytest.param(b"/a%20b", [b"a b"], False, id="space"),
        pytest.param(b"/%61", [b"a"], False, id="needless-escape"),
        pytest.param(b"/%252e%252e", [b"%2e%2e"], False, id="decoded-once"),
        pytest.param(b"/%C3%A9", [b"\xc3\xa9"], False, id="utf-8"),
        pytest.param(b"/%ff%fe", [b"\xff\xfe"], False, id="not-utf-8"),
        pytest.param(b"/%c0%ae%c0%ae", [b"\xc0\xae\xc0\xae"], False, id="overlong-dots-are-names"),
        pytest.param(b"/a..b", [b"a..b"], False, id="dots-inside-a-name"),
        pytest.param(b"/a;b=c", [b"a;b=c"], False, id="parameters"),
        pytest.param(b"/.well-known/x", [b".well-known", b"x"], False, id="well-known"),
        pytest.param(b"http://h/a", [b"a"], False, id="absolute"),
        pytest.param(b"http://h", [], True, id="absolute-without-path"),
        pytest.param(b"http://h?q", [], True, id="absolute-with-query-only"),
        pytest.param(b"/a://b", None, False, id="no-scheme-behind-a-slash"),
        pytest.param(b"//etc/passwd", None, False, id="empty-name-first"),
        pytest.param(b"/a//b", None, False, id="empty-name-inside"),
        pytest.param(b"/a//", None, False, id="empty-name-last"),
        pytest.param(b"/..", None, False, id="up"),
        pytest.param(b"/a/../b", None, False, id="up-inside"),
        pytest.param(b"/../", None, False, id="up-slash"),
        pytest.param(b"/%2e%2e/x", None, False, id="up-encoded"),
        pytest.param(b"/.%2E/x", None, False, id="up-half-encoded"),
        pytest.param(b"/./a", None, False, id="dot"),
        pytest.param(b"/a/%2e", None, False, id="dot-encoded"),
        pytest.param(b"/..%2fx", None, False, id="slash-encoded"),
        pytest.param(b"/a%2Fb", None, False, id="slash-encoded-inside"),
        pytest.param(b"/..\\x", None, False, id="backslash"),
        pytest.param(b"/a%5cb", None, False, id="backslash-encoded"),
        pytest.param(b"/a%00", None, False, id="nul"),
        pytest.param(b"/a%0d%0ab", None, False, id="crlf"),
        pytest.param(b"/a%7f", None, False, id="del"),
        pytest.param(b"/a%", None, False, id="cut-escape"),
        pytest.param(b"/a%2", None, False, id="half-escape"),
        pytest.param(b"/a%zz", None, False, id="bad-escape"),
        pytest.param(b"/%u002e%u002e/x", None, False, id="foreign-escape"),
        pytest.param(b"/.git/config", None, False, id="hidden"),
        pytest.param(b"/a/.env", None, False, id="hidden-below"),
        pytest.param(b"/%2egit", None, False, id="hidden-encoded"),
        pytest.param(b"*", None, False, id="asterisk"),
        pytest.param(b"a", None, False, id="relative"),
        pytest.param(b"", None, False, id="empty"),
        pytest.param(b"h:80", None, False, id="authority"),
    ],
)
def test_a_target_is_plain_names_or_nothing(
    target: bytes, names: list[bytes] | None, slash: bool
) -> None:
    found = resolve_path(target)
    if names is None:
        assert found is None
    else:
        assert found is not None
        assert (list(found.names), found.slash) == (names, slash)


def test_the_query_names_no_file() -> None:
    assert resolve_path(b"/a?b/../c%zz?d") == ResolvedPath((b"a",), False, b"b/../c%zz?d")


def test_hidden_names_are_there_when_asked_for() -> None:
    assert resolve_path(b"/.git/config", hidden=True) == ResolvedPath(
        (b".git", b"config"), False, b""
    )
    assert resolve_path(b"/../x", hidden=True) is None


@given(st.binary(max_size=30))
def test_no_target_yields_a_name_that_leads_up(rest: bytes) -> None:
    found = resolve_path(b"/" + rest, hidden=True)
    if found is not None:
        for name in found.names:
            assert name not in (b"", b".", b"..")
            assert not set(name) & set(b"/\\\0\r\n")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param(b"a.html", "text/html; charset=utf-8", id="text"),
        pytest.param(b"A.HTML", "text/html; charset=utf-8", id="upper-case"),
        pytest.param(b"a.js", "text/javascript; charset=utf-8", id="script"),
        pytest.param(b"a.json", "application/json", id="not-text"),
        pytest.param(b"a.svg", "image/svg+xml", id="image"),
        pytest.param(b"a.tar.gz", "application/gzip", id="last-extension"),
        pytest.param(b"a.unheard-of", "application/octet-stream", id="unknown"),
        pytest.param(b"Makefile", "application/octet-stream", id="none"),
        pytest.param(b"\xff.txt", "text/plain; charset=utf-8", id="not-utf-8"),
    ],
)
def test_types_by_extension(name: bytes, kind: str) -> None:
    assert content_type(name) == kind


def ask(method: bytes = b"GET", size: int = 1000, **fields: bytes) -> tuple[int, dict[str, str]]:
    given = [(name.replace("_", "-").encode(), value) for name, value in fields.items()]
    answer = file_response(method, given, size, MTIME_NS, "image/png", NOW)
    values = {
        name: value.decode() if isinstance(value, bytes) else value
        for name, value in answer.headers
    }
    assert len(values) == len(answer.headers)
    return answer.status, values


def test_a_whole_file() -> None:
    status, headers = ask()
    assert status == 200
    assert headers == {
        "content-type": "image/png",
        "content-length": "1000",
        "x-content-type-options": "nosniff",
        "etag": ETAG.decode(),
        "last-modified": "Sun, 06 Nov 1994 08:49:37 GMT",
        "accept-ranges": "bytes",
    }


def test_the_part_that_is_sent() -> None:
    def part(method: bytes, size: int, *fields: tuple[bytes, bytes]) -> ByteRange | None:
        return file_response(method, list(fields), size, MTIME_NS, "image/png", NOW).part

    assert part(b"GET", 1000) == ByteRange(0, 999)
    assert part(b"GET", 1000, (b"range", b"bytes=-10")) == ByteRange(990, 999)
    assert part(b"GET", 1000, (b"range", b"bytes=1000-")) is None
    assert part(b"GET", 1000, (b"if-none-match", b"*")) is None
    assert part(b"HEAD", 1000) is None
    empty = part(b"GET", 0)
    assert empty is not None
    assert empty.length == 0


def test_head_tells_the_length_of_get() -> None:
    assert ask(b"HEAD") == ask(b"GET")
    assert ask(b"HEAD", range=b"bytes=0-9") == ask(b"GET")


def test_a_range_of_a_file() -> None:
    status, headers = ask(range=b"bytes=990-2000")
    assert status == 206
    assert headers["content-range"] == "bytes 990-999/1000"
    assert headers["content-length"] == "10"
    assert headers["etag"] == ETAG.decode()


def test_several_ranges_get_the_whole() -> None:
    assert ask(range=b"bytes=0-1,4-5") == ask()


def test_a_range_that_is_not_there() -> None:
    status, headers = ask(range=b"bytes=1000-")
    assert status == 416
    assert headers["content-range"] == "bytes */1000"
    assert "etag" not in headers


def test_a_precondition_goes_before_the_range() -> None:
    status, headers = ask(range=b"bytes=0-1", if_none_match=ETAG)
    assert status == 304
    assert headers["etag"] == ETAG.decode()
    assert "content-length" not in headers
    assert ask(range=b"bytes=0-1", if_match=b'"x"')[0] == 412


def test_an_outdated_if_range_gets_the_whole() -> None:
    assert ask(range=b"bytes=0-1", if_range=b'"x"')[0] == 200
    assert ask(range=b"bytes=0-1", if_range=ETAG)[0] == 206


def test_tags_tell_two_changes_of_one_second_apart() -> None:
    later = file_response(b"GET", [(b"if-match", ETAG)], 1000, MTIME_NS + 1, "image/png", NOW)
    assert later.status == 412


def test_a_file_from_the_future_was_modified_now() -> None:
    answer = file_response(b"GET", [], 1, int(NOW * 1e9) + 10**12, "image/png", NOW)
    assert dict(answer.headers)["last-modified"] == b"Tue, 14 Nov 2023 22:13:20 GMT"


@pytest.mark.parametrize(
    ("target", "location"),
    [
        pytest.param(b"/a", b"./a/", id="plain"),
        pytest.param(b"/x/a?q=1", b"./a/?q=1", id="query"),
        pytest.param(b"/http:", b"./http%3A/", id="scheme"),
        pytest.param(b"/a%20b%3f%25%22", b"./a%20b%3F%25%22/", id="escapes"),
        pytest.param(b"/%C3%A9", b"./%C3%A9/", id="utf-8"),
    ],
)
def test_a_redirect_leads_to_the_same_directory(target: bytes, location: bytes) -> None:
    wanted = resolve_path(target)
    assert wanted is not None
    answer = directory_redirect(wanted)
    assert answer.status == 301
    assert dict(answer.headers)["location"] == location


def test_a_plain_answer_has_its_length() -> None:
    answer = text_response(404)
    assert answer.body == b"Not Found\n"
    assert dict(answer.headers)["content-length"] == "10"
