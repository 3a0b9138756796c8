"""Where independent parsers differ from Thor, and why Thor stays as it is.

Owns: the table of accepted disagreements. Must not know how readings are compared.

An entry is as narrow as can be: it says of which parser and which messages it holds, and shows it
by an example. `amend` undoes one way in which a parser reads otherwise; what it leaves is compared
as strictly as everything else. `refusal` and `when` name what a parser refuses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fuzz_readings import Reading, Said

from thor.http.wire.fields import FORBIDDEN_IN_TRAILERS


class Case(NamedTuple):
    """One comparison. ours and theirs are copies that `amend` may change, but their lists of
    fields are not: it puts others in their place.

    data: what was read; method: of the request, where `data` is a response, else empty
    """

    data: bytes
    method: bytes
    ours: Reading
    theirs: Reading

    def pairs(self) -> Iterator[tuple[Said, Said]]:
        """What both say of each message that both have."""
        return zip(self.ours.messages, self.theirs.messages, strict=False)


class Disagreement(NamedTuple):
    """One accepted difference.

    name: in the table of the documentation; oracles: whose; side: "request", "response", "both"
    why: the reason that Thor stays as it is
    example: bytes in which nothing else differs; method: of the request that they answer
    amend: makes the other parser say the same, in this one respect
    refusal: what it says when it refuses the message; when: whether this is the reason
    """

    name: str
    oracles: tuple[str, ...]
    side: str
    why: str
    example: bytes
    method: bytes = b"GET"
    amend: Callable[[Case], None] | None = None
    refusal: str = ""
    when: Callable[[Case, Said], bool] = lambda case, said: True


def _start(said: Said, index: int) -> bytes:
    return said.start[index] or b""


def _version(case: Case, said: Said) -> bytes:
    return _start(said, 0 if case.method else 2)


def _has_no_body(case: Case, said: Said) -> bool:
    """Whether a response has none, whatever its fields say."""
    status = _start(said, 1)
    if case.method == b"CONNECT" and status < b"300":
        return True
    return case.method == b"HEAD" or status < b"200" or status in (b"204", b"304")


def _values(said: Said, name: bytes) -> list[bytes]:
    return [value for found, value in said.fields if found.lower() == name]


# -- what parsers read otherwise ----------------------------------------------------------------


def _replace_host(case: Case) -> None:
    for ours, theirs in case.pairs():
        found = re.match(rb"[A-Za-z][-+.A-Za-z0-9]*://([^/?]*)", _start(ours, 1))
        if found is None:
            continue
        at = [i for i, (name, _) in enumerate(theirs.fields) if name.lower() == b"host"]
        fields = list(theirs.fields)
        if at:
            fields[at[0]] = (fields[at[0]][0], found[1])
        else:
            fields.insert(0, (b"Host", found[1]))
        theirs.fields = fields


def _restore_slashes(case: Case) -> None:
    for ours, theirs in case.pairs():
        target = _start(ours, 1)
        if target.startswith(b"//") and theirs.start[1] == b"/" + target.lstrip(b"/"):
            theirs.start = (theirs.start[0], target, theirs.start[2])


def _strip_phrase(case: Case) -> None:
    for ours, _ in case.pairs():
        phrase = _start(ours, 2).decode("latin-1").strip().encode("latin-1")
        ours.start = (*ours.start[:2], phrase)


def _lower_coding(case: Case) -> None:
    for ours, _ in case.pairs():
        ours.fields = [
            (name, value.lower() if name.lower() == b"transfer-encoding" else value)
            for name, value in ours.fields
        ]


def _join_lengths(case: Case) -> None:
    for ours, _ in case.pairs():
        lengths = b",".join(_values(ours, b"content-length"))
        values = {value.strip() for value in lengths.split(b",")}
        if not _has_no_body(case, ours) or len(values) != 1:
            continue
        at = [i for i, (name, _) in enumerate(ours.fields) if name.lower() == b"content-length"]
        fields = list(ours.fields)
        if at:
            fields[at[0]] = (fields[at[0]][0], values.pop())
        ours.fields = [field for i, field in enumerate(fields) if i not in at[1:]]


def _drop_trailers(case: Case) -> None:
    for _, theirs in case.pairs():
        if theirs.trailers is not None:
            theirs.trailers = [
                field for field in theirs.trailers if field[0].lower() not in FORBIDDEN_IN_TRAILERS
            ]


def _drop_repeated_lengths(case: Case) -> None:
    for ours, theirs in case.pairs():
        at = [i for i, (name, _) in enumerate(theirs.fields) if name.lower() == b"content-length"]
        said = [value.strip() for i in at for value in theirs.fields[i][1].split(b",")]
        if len(said) > 1 and len({*said}) == 1 and _values(ours, b"content-length") == said[:1]:
            theirs.fields[at[0]] = theirs.fields[at[0]][0], said[0]
            theirs.fields = [field for i, field in enumerate(theirs.fields) if i not in at[1:]]


def _has_repeated_length(case: Case, said: Said) -> bool:
    lines = re.findall(rb"(?im)^content-length:(.*)\r$", case.data)
    return b"".join(_values(said, b"content-length")).isdigit() and b",".join(lines).count(b",") > 0


def _end_at_version_10(case: Case) -> None:
    for index, said in enumerate(case.ours.messages[:-1]):
        if said.start[2] == b"1.0":
            del case.ours.messages[index + 1 :]
            case.ours.refused, case.ours.rest = "the connection has ended", None
            return


def _skip_informational(case: Case) -> None:
    while case.ours.messages and case.ours.messages[0].start[1] == b"100":
        del case.ours.messages[0]
    if case.ours.messages and _start(case.ours.messages[0], 1) < b"200":
        del case.ours.messages[1:]
        case.ours.rest = None
    elif not case.ours.messages:
        case.ours.refused = "no response"


def _end_with_input(case: Case) -> None:
    for ours, theirs in case.pairs():
        codings = b",".join(_values(ours, b"transfer-encoding")).lower()
        framed = _values(ours, b"content-length") or codings == b"chunked"
        if not framed and case.theirs.refused is None:
            theirs.complete = ours.complete


def _body_of_upgrade(case: Case) -> None:
    for index, (ours, theirs) in enumerate(case.pairs()):
        framed = _values(ours, b"content-length") or _values(ours, b"transfer-encoding")
        if framed and _values(ours, b"upgrade") and theirs.complete and not theirs.body:
            del case.theirs.messages[index + 1 :]
            del case.ours.messages[index + 1 :]
            theirs.body, theirs.trailers = ours.body, ours.trailers
            theirs.complete = ours.complete
            case.theirs.refused = case.ours.refused = "another protocol"
            return


def _end_alike(case: Case, ours: Said, theirs: Said) -> None:
    theirs.body, theirs.trailers, theirs.complete = ours.body, ours.trailers, ours.complete
    case.theirs.rest = case.theirs.refused = None


def _read_codings(case: Case) -> None:
    for ours, theirs in case.pairs():
        codings = re.findall(rb"(?im)^transfer-encoding:([^\r\n]*)", case.data)
        if len(codings) > 1 or any(coding.endswith((b" ", b"\t")) for coding in codings):
            _end_alike(case, ours, theirs)


def _read_tab(case: Case) -> None:
    for ours, theirs in case.pairs():
        if case.method and _has_tab_behind_coding(case, ours):
            _end_alike(case, ours, theirs)


def _ignore_chunks(case: Case) -> None:
    for ours, theirs in case.pairs():
        if _has_no_body(case, ours) and _values(ours, b"transfer-encoding"):
            _end_alike(case, ours, theirs)


# -- what parsers refuse ------------------------------------------------------------------------


def _space_in_extension(case: Case, said: Said) -> bool:
    return re.search(rb"[ \t][;=]|[;=][ \t]", case.data) is not None


def _has_tab_behind_coding(case: Case, said: Said) -> bool:
    return re.search(rb"(?im)^transfer-encoding:.*chunked *\t", case.data) is not None


def _framing_in_trailers(case: Case, said: Said) -> bool:
    found = re.findall(rb"(?im)^(?:transfer-encoding|content-length):", case.data)
    return said.complete and len(found) > 1 and b"chunked" in case.data.lower()


#: Every llhttp knows these; it has a list of methods, which grows.
_METHODS = {b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"}

TABLE = [
    Disagreement(
        "Informational responses",
        ("http.client",),
        "response",
        "any number may precede the final one (RFC 9110 section 15.2); http.client hides a 100 and"
        " takes any other for final",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 Done\r\n\r\n",
        amend=_skip_informational,
    ),
    Disagreement(
        "Absolute target",
        ("h11", "llhttp", "http.server"),
        "request",
        "the target's authority stands in place of Host, which is replaced (RFC 9112 section"
        " 3.2.2); the others leave that to the program",
        b"GET http://a/ HTTP/1.1\r\nHost: b\r\n\r\n",
        amend=_replace_host,
    ),
    Disagreement(
        "Two slashes",
        ("http.server",),
        "request",
        "a path goes on as it came; this one is made to begin with one slash",
        b"GET //a HTTP/1.1\r\nHost: b\r\n\r\n",
        amend=_restore_slashes,
    ),
    Disagreement(
        "Empty line",
        ("h11", "http.server"),
        "request",
        "a few are skipped before a request line (section 2.2: at least one should be)",
        b"\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
        refusal="no request line",
        when=lambda case, said: b"\r\n\r\n" in case.data or case.data[:2] == b"\r\n",
    ),
    Disagreement(
        "Persistence in HTTP/1.0",
        ("h11",),
        "request",
        "a connection persists where the client says keep-alive (section 9.3); h11 ends it",
        b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        amend=_end_at_version_10,
    ),
    Disagreement(
        "Methods",
        ("llhttp",),
        "request",
        "any token is a method (RFC 9110 section 9.1); llhttp has a list",
        b"GETS / HTTP/1.1\r\nHost: a\r\n\r\n",
        refusal="Invalid method encountered|Expected space after method",
        when=lambda case, said: said.start[0] not in _METHODS,
    ),
    Disagreement(
        "Upgrade with a body",
        ("llhttp",),
        "request",
        "the body is read as one, since nothing is switched before it is through (RFC 9110 section"
        " 7.8); httptools gives it to the next protocol. A proxy asks for no switch then",
        b"POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n"
        b"\r\na",
        amend=_body_of_upgrade,
    ),
    Disagreement(
        "Versions",
        ("llhttp",),
        "both",
        "HTTP/1.2 to 1.9 count as 1.1 (RFC 9110 section 2.5)",
        b"GET / HTTP/1.2\r\nHost: a\r\n\r\n",
        refusal="Invalid HTTP version",
        when=lambda case, said: _version(case, said) > b"1.1",
    ),
    Disagreement(
        "Case of a coding",
        ("h11",),
        "both",
        "fields go on as they were spelled; h11 makes the coding's name lower case",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n",
        amend=_lower_coding,
    ),
    Disagreement(
        "Tab behind a coding",
        ("llhttp",),
        "both",
        "white space around a value is not part of it, be it space or tab (section 5.1);"
        " llhttp refuses such a request, and reads such a response until the connection ends",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
        refusal="Request has invalid `Transfer-Encoding`",
        when=_has_tab_behind_coding,
        amend=_read_tab,
    ),
    Disagreement(
        "Space in chunk extensions",
        ("h11", "llhttp"),
        "both",
        "a recipient has to bear it around the semicolon and the equals sign (section 7.1.1);"
        " extensions are not forwarded",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0 ; a = b\r\n\r\n",
        refusal="illegal chunk header|Invalid character in chunk (size|extensions)",
        when=_space_in_extension,
    ),
    Disagreement(
        "Forbidden trailers",
        ("h11", "llhttp"),
        "both",
        "fields about framing, routing and authentication are dropped from a trailer section"
        " (RFC 9110 section 6.5.1); the others leave that to the program",
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nHost: b\r\n\r\n",
        amend=_drop_trailers,
        refusal="Transfer-Encoding|Content-Length",
        when=_framing_in_trailers,
    ),
    Disagreement(
        "Framing of what has no body",
        ("h11", "llhttp"),
        "response",
        "a response to HEAD, a 1xx, 204 or 304 has no body whatever its fields say (section 6.3);"
        " a proxy drops or refuses such a length, and such a coding",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: x\r\n\r\n",
        refusal="Content-Length|Transfer-Encoding",
        when=_has_no_body,
    ),
    Disagreement(
        "Chunks of what has no body",
        ("http.client",),
        "response",
        "a response without a body has no chunks whatever its fields say (section 6.3); http.client"
        " reads them, of a 204 too",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        amend=_ignore_chunks,
    ),
    Disagreement(
        "Lengths of what has no body",
        ("h11",),
        "response",
        "of a response without a body the length is a field like another (section 6.3); h11 joins"
        " equal ones",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        method=b"HEAD",
        amend=_join_lengths,
    ),
    Disagreement(
        "Codings of a response",
        ("h11",),
        "response",
        "a body in another coding than chunked goes on until the connection ends (section 6.3); it"
        " is passed on as it is, with its field, and a proxy answers 502. h11 knows chunked only",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\na",
        refusal="Only Transfer-Encoding: chunked|multiple Transfer-Encoding",
        when=lambda case, said: _values(said, b"transfer-encoding")[-1:] != [b"chunked"],
    ),
    Disagreement(
        "Several codings of a response",
        ("http.client",),
        "response",
        "all Transfer-Encoding fields are one list, of which the last element counts (section 6.3);"
        " http.client looks at the first field, and at nothing but the very word chunked",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked \r\n\r\n0\r\n\r\n",
        amend=_read_codings,
    ),
    Disagreement(
        "Repeated lengths of a response",
        ("http.client", "llhttp"),
        "response",
        "lengths that say the same are made one (RFC 9110 section 8.6), in several fields or as a"
        " list, of a response only; http.client gives them all, llhttp refuses them",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        amend=_drop_repeated_lengths,
        refusal="Duplicate Content-Length|Invalid character in Content-Length",
        when=_has_repeated_length,
    ),
    Disagreement(
        "The end of input",
        ("llhttp",),
        "response",
        "a body without a length ends with the connection; httptools cannot tell llhttp of that",
        b"HTTP/1.1 200 OK\r\n\r\na",
        amend=_end_with_input,
    ),
    Disagreement(
        "Close in a 1xx",
        ("llhttp",),
        "response",
        "the final response still follows: it is what the connection ends with (section 9.6)",
        b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        refusal="Data after `Connection: close`",
        when=lambda case, said: _start(case.ours.messages[0], 1) < b"200",
    ),
    Disagreement(
        "Space around a phrase",
        ("http.client",),
        "response",
        "a phrase is text for humans, and goes on as it came; http.client strips it",
        b"HTTP/1.1 200  OK\r\nContent-Length: 0\r\n\r\n",
        amend=_strip_phrase,
    ),
]
