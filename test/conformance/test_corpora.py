"""The messages that other projects test their parsers with, as a second opinion.

The corpora are not part of the project: where they are absent, these tests skip. Where Thor
differs, EXCEPTIONS says why; a case that no longer differs fails, so that the list stays true.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from wire_support import Message, Outcome, deliveries, read_requests, read_responses

import thor_support
from thor.http.wire.limits import Limits

pytestmark = pytest.mark.corpora

_FRAGMENT = "a request target has no fragment (RFC 9112 section 3.2)"
_PROTOCOL = "another protocol than HTTP on the port is refused at its first line (section 3)"
_BLANK = "empty lines are skipped before a request line only (section 2.2)"
_CODING = "a coding besides chunked is answered 501, since nothing here decodes it (section 6.1)"
_USERINFO = "user information in a target is refused (RFC 9110 section 4.2.4)"
_ASTERISK = "the asterisk form is for OPTIONS alone (RFC 9112 section 3.2.4)"
_TOKEN = "any token is a method (RFC 9110 section 9.1); which are known, the program says"
_LIMIT = "the limit is another one here; that there is one, test_reader.py shows"
_TRAILER = "fields that may not be trailers are dropped (RFC 9110 section 6.5.1)"
_UNDERSCORE = "underscores in names are dropped by the proxy, a setting of its own"
_PROXY_LINE = "a PROXY line is read by thor.tcp, before HTTP begins"

#: id -> why Thor decides otherwise.
EXCEPTIONS = {
    "llhttp/request/invalid:69": _TOKEN,
    "llhttp/request/invalid:359": _TOKEN,
    "llhttp/request/method:99": "CONNECT has no content (RFC 9110 section 9.3.6); what follows is "
    "a tunnel's data to one reader and content to another",
    "llhttp/request/method:138": _ASTERISK,
    "llhttp/request/method:375": _PROTOCOL,
    "llhttp/request/method:405": _PROTOCOL,
    "llhttp/request/method:433": _PROTOCOL,
    "llhttp/request/method:461": _ASTERISK,
    "llhttp/request/sample:317": "HTTP/0.9 is not spoken (RFC 9110 section 2.5)",
    "llhttp/request/transfer-encoding:754": _FRAGMENT,
    "llhttp/request/transfer-encoding:796": _FRAGMENT,
    "llhttp/request/uri:168": _FRAGMENT,
    "llhttp/request/uri:225": _USERINFO,
    "llhttp/response/connection:495": _BLANK,
    "llhttp/response/connection:589": _BLANK,
    "llhttp/response/pipelining:7": _BLANK,
    "llhttp/response/sample:43": _PROTOCOL,
    "llhttp/response/sample:63": _PROTOCOL,
    "llhttp/response/sample:648": "HTTP/0.9 has no status line (RFC 9112 section 2.3)",
    "llhttp/response/sample:698": _BLANK,
    "gunicorn/valid/005": _FRAGMENT,
    "gunicorn/valid/009": _FRAGMENT,
    "gunicorn/valid/025": _CODING,
    "gunicorn/valid/025_line": _CODING,
    "gunicorn/valid/027": "a request target is ASCII (RFC 3986 section 2)",
    "gunicorn/valid/022": "HTTP/1.1 needs Host, in the second request too (section 3.2)",
    "gunicorn/valid/028": "white space before a colon is refused, without a setting (section 5.1)",
    "gunicorn/valid/029": _CODING,
    "gunicorn/valid/030": _CODING,
    "gunicorn/valid/031compat": "a method is passed on in its own case (RFC 9110 section 9.1)",
    "gunicorn/valid/040": _UNDERSCORE,
    "gunicorn/valid/pp_01": _PROXY_LINE,
    "gunicorn/valid/pp_02": _PROXY_LINE,
    "gunicorn/valid/pp_04": _PROXY_LINE,
    "gunicorn/valid/pp_05": _PROXY_LINE,
    "gunicorn/valid/rfc9112_smuggle_gzip_chunked_01": _CODING,
    "gunicorn/valid/rfc9112_smuggle_te_identity_chunked_01": _CODING,
    "gunicorn/valid/rfc9112_target_absolute_userinfo_01": _USERINFO,
    "gunicorn/invalid/003c": _TOKEN,
    "gunicorn/invalid/006": _LIMIT,
    "gunicorn/invalid/007": _LIMIT,
    "gunicorn/invalid/008": _LIMIT,
    "gunicorn/invalid/009": _LIMIT,
    "gunicorn/invalid/012": "a field's size is that of its line, without CRLF",
    "gunicorn/invalid/013": "a folded field's size is that of what it is unfolded to",
    "gunicorn/invalid/017": _LIMIT,
    "gunicorn/invalid/limit_header_default_01": _LIMIT,
    "gunicorn/invalid/019": "X-Forwarded-* is the proxy's business, by whom it came from",
    "gunicorn/invalid/040": _UNDERSCORE,
    "gunicorn/invalid/041": "a repeated Content-Type says nothing about framing; it is passed on",
    "gunicorn/invalid/chunked_07": _UNDERSCORE,
    "gunicorn/invalid/rfc9110_trailer_forbidden_cl_01": _TRAILER,
    "gunicorn/invalid/rfc9110_trailer_forbidden_host_01": _TRAILER,
    "gunicorn/invalid/rfc9110_trailer_forbidden_te_01": _TRAILER,
}

#: Settings of gunicorn that have a counterpart here.
SETTINGS = {
    "limit_request_fields": "max_head_fields",
    "limit_request_field_size": "max_field_bytes",
    "limit_request_line": "max_target_bytes",
}


def cases(name: str) -> Iterator[Any]:
    """The cases of one corpus, as parameters; one that skips where it is absent."""
    try:
        path: Path = thor_support.corpus(name)
    except pytest.skip.Exception as exc:
        yield pytest.param(None, id=name, marks=pytest.mark.skip(str(exc)))
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        yield pytest.param(case, id=case["id"])


def limits(case: dict[str, Any]) -> Limits:
    known: dict[str, Any] = {}
    for setting, value in case.get("settings", ()):
        if setting in SETTINGS and value != "0":  # gunicorn's 0 is its default
            known[SETTINGS[setting]] = int(value)
        elif setting == "permit_obsolete_folding":
            known["fold"] = "unfold"
    return Limits(**known)


def prepared(case: dict[str, Any]) -> bytes:
    """The case's bytes, with a Host where it has none and is about another thing."""
    data = base64.b64decode(case["input_b64"])
    lacks_host = not re.search(rb"(?im)^host *:", data) and case.get("side") == "server"
    if case.get("host_missing", lacks_host):
        data = data.replace(b" HTTP/1.1\r\n", b" HTTP/1.1\r\nHost: a\r\n")
    return data


def run(case: dict[str, Any], pieces: list[bytes]) -> Outcome:
    # A rejected case may also be one that is merely cut short: its end is then the error.
    eof = case["expect"] == "reject"
    if case.get("side") == "client":
        methods = [b"GET"] * 9
        return read_responses(pieces, methods, limits(case), eof=eof)
    return read_requests(pieces, limits(case), eof=eof)


def plain(case: dict[str, Any], fields: Any) -> list[tuple[bytes, bytes]]:
    """Fields as both corpora can be compared: the inserted Host is left out."""
    found = []
    for name, value in fields:
        if isinstance(name, str):
            name, value = name.encode("latin-1"), value.encode("latin-1").strip(b" \t")
        if name.lower() == b"host" and (case.get("host_inserted") or case.get("host_missing")):
            continue
        # gunicorn's names are in upper case.
        found.append((name.upper() if case["id"].startswith("gunicorn") else name, value))
    return found


def same(case: dict[str, Any], ours: Message, theirs: dict[str, Any]) -> None:
    head: Any = ours.head
    if case.get("side") == "client":
        assert head.phrase == theirs.get("status", "").encode("latin-1")
    else:
        assert head.method == theirs["method"].encode()
        assert head.target == theirs["url"].encode("latin-1")
    version = theirs["version"]
    assert head.version.decode() == (version if isinstance(version, str) else f"1.{version[1]}")
    assert plain(case, head.headers) == plain(case, theirs["headers"])
    assert ours.body == theirs["body"].encode("latin-1")
    if "trailers" in theirs:  # gunicorn does not say
        assert plain(case, ours.trailers) == plain(case, theirs["trailers"])
        assert ours.complete == theirs["complete"]


def agrees(case: dict[str, Any], outcome: Outcome) -> bool:
    """Whether the verdict is the same; what was parsed is compared where both accept."""
    if case["expect"] == "reject":
        return outcome.error is not None
    theirs = case["messages"]
    if case["expect"] == "upgrade":  # what follows the first message is of another protocol
        theirs = theirs[:1]
        outcome.messages[1:] = []
    elif outcome.error is not None:
        return False
    if len(outcome.messages) < len(theirs):
        # llhttp reports a message whose head is cut off; here it waits for the rest.
        assert not theirs[-1]["complete"]
        assert outcome.rest
        theirs = theirs[:-1]
    if len(outcome.messages) != len(theirs):
        return False
    for ours, other in zip(outcome.messages, theirs, strict=True):
        same(case, ours, other)
    return True


@pytest.mark.parametrize("case", [*cases("llhttp_strict.jsonl"), *cases("gunicorn_cases.jsonl")])
def test_corpus_case_is_decided_as_by_its_authors(case: dict[str, Any]) -> None:
    for _, pieces in deliveries(prepared(case), trailing=False):
        outcome = run(case, pieces)
        if case["id"] in EXCEPTIONS:
            assert differs(case, outcome), "an exception that is none any more"
        else:
            assert agrees(case, outcome), outcome


def differs(case: dict[str, Any], outcome: Outcome) -> bool:
    try:
        return not agrees(case, outcome)
    except AssertionError:
        return True


def test_every_exception_names_a_case() -> None:
    found = [*cases("llhttp_strict.jsonl"), *cases("gunicorn_cases.jsonl")]
    known = {param.values[0]["id"] for param in found if param.values[0] is not None}
    if known:
        assert EXCEPTIONS.keys() <= known
