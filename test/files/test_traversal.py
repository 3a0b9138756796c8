"""No way of writing a target leads out of the directory."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest

from thor.files import StaticFiles

SECRET = b"nobody may read this"

#: A dot, a separator, and what stands before and behind, as they are written: as they are, encoded,
#: encoded twice, in more bytes of UTF-8 than are needed, and as characters that look like them.
DOTS = [".", "%2e", "%2E", "%252e", "%c0%ae", "%e0%80%ae", "%ef%bc%8e", "%e2%80%a4", "%u002e"]
SEPARATORS = [
    "/",
    "//",
    "/./",
    "%2f",
    "%2F",
    "%252f",
    "%5c",
    "\\",
    "%c0%af",
    "%ef%bc%8f",
    "%e2%88%95",
    ";/",
    "%00/",
    "%09/",
    "?/",
]
BEFORE = ["/", "//", "/%2f", "/sub/", "/sub//", "/link/", "/a.txt/", "http://site/", "/sub%2f"]
BEHIND = ["secret", "secret%00", "secret%00.txt", "secret/", "secret?x", "sub/../secret", ".secret"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """What is served; what is beside it and above it, and what links lead to, is not."""
    root = tmp_path / "above" / "root"
    (root / "sub").mkdir(parents=True)
    for folder in (tmp_path, root.parent):
        for name in ("secret", ".secret"):
            (folder / name).write_bytes(SECRET)
        (folder / "sub").mkdir(exist_ok=True)
    (root / ".secret").write_bytes(SECRET)
    (root / "a.txt").write_text("hello")
    (root / "link").symlink_to("..")
    (root / "sub" / "link").symlink_to(tmp_path)
    (root / "file-link").symlink_to("../secret")
    return root


def tells(files: StaticFiles, target: str) -> tuple[int, bytes]:
    """The status of the answer, and all that a client would get of a body."""
    answer, file, piece = files.prepare(b"GET", target.encode("latin-1"), [], 0.0)
    if file is not None:
        piece += file.read()
        file.close()
    return answer.status, answer.body + piece


@pytest.mark.parametrize("dot", DOTS)
@pytest.mark.parametrize("listing", [False, True], ids=["", "listing"])
def test_no_spelling_leads_up(root: Path, dot: str, listing: bool) -> None:
    files = StaticFiles(root, listing=listing)
    for before, separator, depth, behind in product(BEFORE, SEPARATORS, (1, 2, 5), BEHIND):
        target = before + (dot + dot + separator) * depth + behind
        status, body = tells(files, target)
        assert (status, SECRET in body) == (404, False), target


@pytest.mark.parametrize(
    "target",
    [
        "/link",
        "/link/",
        "/link/secret",
        "/sub/link/secret",
        "/sub/link/above/secret",
        "/sub/link/above/root/a.txt/../../secret",
        "/file-link",
        "/.secret",
        "/%2esecret",
        "/sub/link/above/root/.secret",
    ],
)
def test_no_link_leads_out(root: Path, target: str) -> None:
    for listing in (False, True):
        status, body = tells(StaticFiles(root, listing=listing), target)
        assert (status, SECRET in body) == (404, False)


def test_no_absolute_path_is_one(root: Path) -> None:
    secret = os.fspath(root.parent / "secret")
    for hidden, before in product(
        (False, True), ("", "/", "//", "/%2f", "/sub/", "file://", "/./")
    ):
        status, body = tells(StaticFiles(root, hidden=hidden), before + secret)
        assert (status, SECRET in body) == (404, False), before


def test_what_looks_like_a_dot_is_a_name(root: Path) -> None:
    folder = root / "\uff0e\uff0e"
    folder.mkdir()
    (folder / "secret").write_text("not that one")
    assert tells(StaticFiles(root), "/%ef%bc%8e%ef%bc%8e/secret") == (200, b"not that one")
