"""What a redirect leads to, case by case."""

from __future__ import annotations

from typing import Any

import pytest

from thor.http.client.redirect import redirected_request
from thor.http.error import RedirectError, UrlError

ASKED = "http://a.example/b/c?d"


def follow(status: int, location: str | bytes, method: bytes = b"GET", **given: Any) -> Any:
    value = location if isinstance(location, bytes) else location.encode()
    headers = [(b"Location", value)]
    uri, fields = given.get("uri", ASKED), given.get("fields", [])
    return redirected_request(b"%d" % status, headers, method, uri, fields)


@pytest.mark.parametrize(
    ("status", "method", "becomes", "keeps_body"),
    [
        (301, b"GET", b"GET", True),
        (301, b"HEAD", b"HEAD", True),
        (301, b"PUT", b"PUT", True),
        (301, b"POST", b"GET", False),
        (302, b"POST", b"GET", False),
        (302, b"DELETE", b"DELETE", True),
        (303, b"POST", b"GET", False),
        (303, b"PUT", b"GET", False),
        (303, b"HEAD", b"HEAD", True),
        (307, b"POST", b"POST", True),
        (308, b"POST", b"POST", True),
    ],
)
def test_redirect_decides_the_method(
    status: int, method: bytes, becomes: bytes, keeps_body: bool
) -> None:
    redirected = follow(status, "/x", method)
    assert (redirected.method, redirected.keeps_body) == (becomes, keeps_body)


@pytest.mark.parametrize("status", [200, 201, 300, 304, 305, 306, 400])
def test_other_status_with_a_location_is_no_redirect(status: int) -> None:
    assert follow(status, "/x") is None


def test_redirect_without_a_location_is_a_response() -> None:
    assert redirected_request(b"302", [(b"A", b"b")], b"GET", ASKED, []) is None


@pytest.mark.parametrize(
    ("location", "target"),
    [
        ("/x", "http://a.example/x"),
        ("x", "http://a.example/b/x"),
        ("../x", "http://a.example/x"),
        ("?y", "http://a.example/b/c?y"),
        ("", ASKED),
        ("//z.example", "http://z.example"),
        ("https://z.example:444/x?y", "https://z.example:444/x?y"),
        ("/x#part", "http://a.example/x"),
        ("/a b", "http://a.example/a%20b"),
        (b"/\xc3\xa9", "http://a.example/%C3%A9"),
        ("/%41,b", "http://a.example/%41,b"),
    ],
)
def test_location_is_relative_to_what_was_asked(location: str | bytes, target: str) -> None:
    assert follow(302, location).uri == target


def test_location_behind_a_unix_socket_stays_there() -> None:
    redirected = follow(302, "../x", uri="http+unix://%2Frun%2Fa.sock/b/c")
    assert redirected.uri == "http+unix://%2Frun%2Fa.sock/x"


@pytest.mark.parametrize("location", ["ftp://x/", "mailto:x", "http+unix://%2Fx/", "file:///x"])
def test_server_sends_nobody_to_what_is_not_http(location: str) -> None:
    with pytest.raises(UrlError, match="must begin with http:// or https://"):
        follow(302, location)


@pytest.mark.parametrize("location", ["http://[", "http://u:p@x/", "http://x:99999/"])
def test_location_that_is_no_uri_is_refused(location: str) -> None:
    with pytest.raises(RedirectError):
        follow(302, location)


def test_two_different_locations_are_refused() -> None:
    headers = [(b"Location", b"/x"), (b"location", b"/y")]
    with pytest.raises(RedirectError, match="several"):
        redirected_request(b"302", headers, b"GET", ASKED, [])
    headers[1] = headers[0]
    assert redirected_request(b"302", headers, b"GET", ASKED, []) is not None


SECRET = [("Authorization", "x"), (b"cookie", b"y"), ("Host", "z"), ("Proxy-Authorization", "p")]


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("/x", True),
        ("http://A.example:80/x", True),
        ("https://a.example/x", False),
        ("http://a.example:81/x", False),
        ("http://b.example/x", False),
    ],
)
def test_credentials_stay_with_the_origin(location: str, kept: bool) -> None:
    fields = [*SECRET, ("X-A", "b")]
    assert follow(302, location, fields=fields).fields == (fields if kept else fields[-1:])


def test_fields_that_describe_content_go_with_it() -> None:
    fields = {
        "Content-Type": "text/plain",
        "content-length": "3",
        "Expect": "100-continue",
        "A": "b",
    }
    assert follow(303, "/x", b"POST", fields=fields).fields == [("A", "b")]
    assert len(follow(307, "/x", b"POST", fields=fields).fields) == 4
