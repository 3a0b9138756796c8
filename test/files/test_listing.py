"""The page that lists a directory."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from thor.files.listing import Entry, directory_listing
from thor.files.responses import Response


def page(*entries: Entry, names: tuple[bytes, ...] = (b"sub",), complete: bool = True) -> str:
    return directory_listing(names, entries, complete=complete).body.decode()


def test_listing_escapes_names() -> None:
    body = page(
        Entry(b'<script>"&.txt', 1, 0),
        Entry(b"a b", None, 0),
        Entry(b"\xff", 1, 0),
        Entry(b"x:y", 1, 0),
        names=(b"<b>", b"\xff"),
    )
    assert '<a href="./%3Cscript%3E%22%26.txt">&lt;script&gt;&quot;&amp;.txt</a>' in body
    assert '<a href="./a%20b/">a b/</a>' in body
    assert '<a href="./%FF">\ufffd</a>' in body
    assert '<a href="./x%3Ay">x:y</a>' in body
    assert body.count("Index of /&lt;b&gt;/\ufffd/<") == 2
    assert "<script>" not in body
    assert "<b>" not in body


def test_listing_is_in_the_order_of_names() -> None:
    entries = [Entry(b"b", 1, 0), Entry(b"c", None, 0), Entry(b"a", 1, 0)]
    assert re.findall(r'href="([^"]+)"', page(*entries)) == ["../", "./a", "./b", "./c/"]


@pytest.mark.parametrize(
    ("size", "text"),
    [
        pytest.param(0, "0 B", id="empty"),
        pytest.param(1023, "1023 B", id="bytes"),
        pytest.param(1024, "1.0 KiB", id="kibibyte"),
        pytest.param(3 * 1024**3 // 2, "1.5 GiB", id="gibibytes"),
        pytest.param(2 * 1024**7, "2048.0 EiB", id="beyond-the-units"),
    ],
)
def test_listing_shows_size_and_date(size: int, text: str) -> None:
    body = page(Entry(b"a", size, 1700000000))
    assert f'<td class="size">{text}</td><td>2023-11-14 22:13</td>' in body


def test_listing_has_files_of_no_date() -> None:
    assert '<td class="size">1 B</td><td></td>' in page(Entry(b"a", 1, 1e300))


def test_listing_says_when_it_is_cut() -> None:
    assert "There are more" in page(complete=False)
    assert "There are more" not in page()


def test_listing_of_the_top_has_no_parent() -> None:
    assert "../" not in page(Entry(b"a", 1, 0), names=())
    assert "This directory is empty." in page(names=())


def test_listing_allows_its_own_style_and_nothing_else() -> None:
    answer: Response = directory_listing((), [], complete=True)
    headers = dict(answer.headers)
    style = re.findall(rb"<style>(.*)</style>", answer.body, re.DOTALL)[0]
    digest = base64.b64encode(hashlib.sha256(style).digest()).decode()
    assert headers["content-security-policy"] == f"default-src 'none'; style-src 'sha256-{digest}'"
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["content-length"] == str(len(answer.body))
