"""Mutants of HTTP/1.1 on the wire: framing, limits, smuggling rules, reading, writing."""

from __future__ import annotations

from mutations import Mutant

BODIES = ("test/http/wire/test_body.py",)
FIELD_LINES = ("test/http/wire/test_fields.py",)
STARTLINES = ("test/http/wire/test_startline.py",)
READER = ("test/http/wire/test_reader.py",)
WRITER = ("test/http/wire/test_writer.py",)
CONDITIONAL = ("test/http/test_conditional.py",)

BODY = "thor/http/wire/body.py"
FIELDS = "thor/http/wire/fields.py"
FRAMING = "thor/http/wire/framing.py"
GRAMMAR = "thor/http/wire/grammar.py"
HEAD = "thor/http/wire/head.py"
READER_FILE = "thor/http/wire/reader.py"
WRITER_FILE = "thor/http/wire/writer.py"
CONDITIONAL_FILE = "thor/http/conditional.py"
SERVER_CASES = ("test/conformance/test_server.py::test_case_in_memory",)
CLIENT_CASES = ("test/conformance/test_client.py::test_case_in_memory",)

MUTANTS = (
    Mutant(
        "framing-length-beside-coding",
        FRAMING,
        "            raise TransferEncodingCLError\n",
        "            pass\n",
        SERVER_CASES,
        "a message with Content-Length and Transfer-Encoding is read: smuggling",
    ),
    Mutant(
        "framing-coding-in-http10",
        FRAMING,
        "        if not http11:\n            raise TransferEncodingVersionError",
        "        if False:\n            raise TransferEncodingVersionError",
        SERVER_CASES,
        "Transfer-Encoding of an HTTP/1.0 message is believed",
    ),
    Mutant(
        "framing-lengths-differ",
        FRAMING,
        "if len(values) > 1 and not (repeatable and all(value == first for value in values)):",
        "if len(values) > 1 and not repeatable:",
        CLIENT_CASES,
        "of two different lengths of a response the first is believed",
    ),
    Mutant(
        "framing-coding-before-chunked",
        FRAMING,
        "    if len(elements) > 1:\n        raise TransferCodeError(excerpt(value))\n",
        "",
        SERVER_CASES,
        "`gzip, chunked` is read as if the data were not compressed",
    ),
    Mutant(
        "framing-304-has-body",
        FRAMING,
        "status == 204 or status == 304:",
        "status == 204:",
        CLIENT_CASES,
        "the length of a 304 is taken for that of its body",
    ),
    Mutant(
        "chunk-size-unbounded",
        BODY,
        "if not 0 < len(digits) <= MAX_SIZE_DIGITS:",
        "if not digits:",
        SERVER_CASES,
        "a chunk size of any number of digits is read",
    ),
    Mutant(
        "chunk-data-unterminated",
        BODY,
        "                    raise ChunkTerminatorError(excerpt(buf[at : at + 2]))\n",
        "                    pass\n",
        BODIES,
        "whatever follows the data of a chunk is skipped",
    ),
    Mutant(
        "chunk-body-limit",
        BODY,
        "            if self._room < 0:\n",
        "            if False:\n",
        BODIES,
        "a chunked body is longer than max_body_bytes",
    ),
    Mutant(
        "chunk-extensions-total",
        BODY,
        "        if self._extension_bytes > self._limits.max_chunk_extensions_bytes:\n",
        "        if False:\n",
        SERVER_CASES,
        "the chunk extensions of one message grow without a bound",
    ),
    Mutant(
        "trailers-forbidden",
        FIELDS,
        "    return [field for field in fields if field[0].lower() not in FORBIDDEN_IN_TRAILERS]\n",
        "    return fields\n",
        SERVER_CASES,
        "a trailer may be a Host, a Content-Length, a Cookie",
    ),
    Mutant(
        "field-space-before-colon",
        FIELDS,
        '        raise HeaderSpaceError(name[:60].decode("ascii"))\n',
        "        return\n",
        FIELD_LINES,
        "a space before the colon of a field is let pass",
    ),
    Mutant(
        "field-fold-refused",
        FIELDS,
        '        if fold == "refuse":\n',
        "        if False:\n",
        FIELD_LINES,
        "a folded line is unfolded where folding is refused",
    ),
    Mutant(
        "line-bare-cr",
        GRAMMAR,
        r'rb"\r\n|\r(?=[^\n])|[',
        r'rb"\r\n|[',
        BODIES,
        "a bare CR inside of a line is read as a part of it",
    ),
    Mutant(
        "target-fragment",
        GRAMMAR,
        'TARGET_OCTETS = bytes(range(0x21, 0x7F)).replace(b"#", b"")',
        "TARGET_OCTETS = bytes(range(0x21, 0x7F))",
        ("test/http/wire/test_target.py",),
        "a target has a fragment",
    ),
    Mutant(
        "head-fields-limit",
        "thor/http/wire/scan.py",
        "if fields >= self._limits.max_head_fields:",
        "if fields > self._limits.max_head_fields:",
        ("test/http/server/test_server.py",),
        "one field more than max_head_fields is read",
    ),
    Mutant(
        "target-limit",
        "thor/http/wire/startline.py",
        "    end = space + 1 + limits.max_target_bytes\n",
        "    end = space + 2 + limits.max_target_bytes\n",
        STARTLINES,
        "one octet more than max_target_bytes is read",
    ),
    Mutant(
        "host-twice",
        HEAD,
        "    if len(hosts) > 1:\n",
        "    if len(hosts) > 2:\n",
        SERVER_CASES,
        "a request has two Host fields",
    ),
    Mutant(
        "host-missing",
        HEAD,
        "    if not hosts and http11:\n",
        "    if False:\n",
        SERVER_CASES,
        "an HTTP/1.1 request has no Host",
    ),
    Mutant(
        "host-of-absolute-form",
        HEAD,
        "    headers[at] = (headers[at][0], authority)\n",
        "",
        SERVER_CASES,
        "the Host of a request in absolute form stays beside another authority",
    ),
    Mutant(
        "request-close-ignored",
        HEAD,
        "        keep_alive = (http11 or stay) and not close\n        if switch and http11:",
        "        keep_alive = http11 or stay\n        if switch and http11:",
        SERVER_CASES,
        "`Connection: close` of a request is not heard",
    ),
    Mutant(
        "body-limit-declared",
        HEAD,
        "        if limits.max_body_bytes is not None and length > limits.max_body_bytes:\n",
        "        if False:\n",
        SERVER_CASES,
        "a Content-Length above max_body_bytes is accepted",
    ),
    Mutant(
        "reader-data-before-request",
        READER_FILE,
        "        if method is None and self.buffer:\n",
        "        if False:\n",
        READER,
        "what an origin sends unasked is no error",
    ),
    Mutant(
        "reader-truncated-length",
        READER_FILE,
        "        if self._body != UNTIL_CLOSE:\n",
        "        if self._body == CHUNKED:\n",
        READER,
        "a body that ends before its Content-Length looks complete",
    ),
    Mutant(
        "reader-informational-limit",
        READER_FILE,
        "        if self._informational > self.limits.max_informational:\n",
        "        if False:\n",
        CLIENT_CASES,
        "an origin sends informational responses without an end",
    ),
    Mutant(
        "reader-empty-lines",
        READER_FILE,
        "            if self._empty_lines > self.limits.max_empty_lines:\n",
        "            if False:\n",
        READER,
        "empty lines before a request are skipped without an end",
    ),
    Mutant(
        "writer-splitting",
        WRITER_FILE,
        "        raise OutputSyntaxError(_first_bad_line(parts[1:]))\n",
        "        return\n",
        WRITER,
        "a CR or LF in a field of the program's splits the message",
    ),
    Mutant(
        "writer-lengths-differ",
        WRITER_FILE,
        '        raise OutputSyntaxError(f"Content-Length {length} and {number}")\n',
        "        return False\n",
        WRITER,
        "a program sends two different lengths, and the first is taken",
    ),
    Mutant(
        "writer-nominated",
        WRITER_FILE,
        "    nominated = nominated_fields(options) - hop_by_hop_hdrs if options else None\n",
        "    nominated = None\n",
        WRITER,
        "a field that Connection names is sent without it",
    ),
    Mutant(
        "writer-http10-persistence",
        WRITER_FILE,
        "            framing = UNTIL_CLOSE\n            keep_alive = False\n",
        "            framing = UNTIL_CLOSE\n",
        WRITER,
        "a body that only closing ends is followed by keep-alive",
    ),
    Mutant(
        "writer-trailers-forbidden",
        WRITER_FILE,
        '        if encode_text(field[0], "a field name").lower() not in FORBIDDEN_IN_TRAILERS\n',
        "",
        WRITER,
        "a program's trailer may be a Content-Length",
    ),
    Mutant(
        "nominated-host",
        "thor/http/headers.py",
        '_NEVER_NOMINATED = frozenset((b"content-length", b"host"))',
        "_NEVER_NOMINATED: frozenset[bytes] = frozenset()",
        ("test/http/test_headers.py", *WRITER),
        "`Connection: host` takes the Host away",
    ),
    Mutant(
        "uri-fragment",
        "thor/http/uri.py",
        '    octets = octets.partition(b"#")[0]\n',
        "",
        ("test/http/test_uri.py",),
        "the fragment of a URI is sent to the server",
    ),
    Mutant(
        "conditional-weak-comparison",
        CONDITIONAL_FILE,
        'if _matches(found[b"if-none-match"], etag, strong=False):',
        'if _matches(found[b"if-none-match"], etag, strong=True):',
        CONDITIONAL,
        "a weak entity tag in If-None-Match does not match",
    ),
    Mutant(
        "conditional-suffix-range",
        CONDITIONAL_FILE,
        "ByteRange(max(0, length - last), length - 1)",
        "ByteRange(length - last, length - 1)",
        CONDITIONAL,
        "a suffix longer than the file begins before it",
    ),
    Mutant(
        "conditional-if-range-fresh",
        CONDITIONAL_FILE,
        "modified is not None and modified + 1 <= now and parse_date",
        "modified is not None and parse_date",
        CONDITIONAL,
        "a date of this very second counts as a strong validator",
    ),
)
