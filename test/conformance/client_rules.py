"""The rules for a client: what each says, and where in the code it is kept.

Owns: the rules, by chapter. It is data: what a row means says `shapes.Rule`.
"""

from __future__ import annotations

from shapes import Rule

_CLIENT_OUTPUT = [
    Rule(
        "bad-request",
        "3.2, 5, 11.1",
        "A bad URI, method, field, trailer, or a body that is not of its declared length: "
        "``error`` on the exchange, and nothing of it leaves where that can be known.",
        "http/client/request.py",
    ),
    Rule(
        "request",
        "3.2, 6",
        "Host comes first, exactly one; the framing is made from what is sent.",
        "http/wire/writer.py",
    ),
    Rule(
        "hold-back",
        "RFC 9110 10.1.1",
        "A client holds its body back until a 100, or for a second.",
        "http/client/request.py",
    ),
]

_RESPONSES = [
    Rule(
        "status-line",
        "4",
        "A status line has a version of HTTP/1 and three digits from 100. The reason may be "
        "missing, with or without its SP. Else an error.",
        "http/wire/startline.py",
    ),
    Rule(
        "statuses",
        "RFC 9110 15",
        "Statuses from 600 to 999 are delivered as they are.",
        "http/wire/startline.py",
    ),
    Rule(
        "response-head",
        "2.2, 5",
        "A head has the grammar of a request's. Else an error, and the connection is closed.",
        "http/wire/scan.py",
    ),
    Rule(
        "response-folds",
        "5.2",
        'A folded line becomes one, with SP; with ``fold = "refuse"`` it is an error.',
        "http/wire/fields.py",
    ),
    Rule(
        "response-limits",
        "RFC 9110 5.4",
        "An endless head, endless trailers, too many fields: an error at the limit.",
        "http/wire/scan.py",
    ),
    Rule(
        "nonfinal",
        "RFC 9110 15.2",
        "Up to 16 informational responses, then an error.",
        "http/wire/reader.py",
    ),
    Rule(
        "switch",
        "RFC 9110 7.8",
        "A 101 that nobody asked for, or to something else, is an error. What follows it belongs "
        "to the other protocol.",
        "http/http1/client_connection.py",
    ),
    Rule(
        "response-framing",
        "6.3",
        "A coding with a length, lengths that differ or are none, a coding in HTTP/1.0: an error. "
        "Lengths that say the same become one, in several fields or as a list.",
        "http/wire/framing.py",
    ),
    Rule(
        "response-chunks",
        "7.1",
        "A chunked body as in a request; else an error.",
        "http/wire/body.py",
    ),
    Rule(
        "until-close",
        "6.3, 8",
        "Without a length, or with a coding that does not end in chunked, a body goes on until the "
        "connection's end; it is complete only after a clean one.",
        "http/wire/reader.py",
    ),
    Rule(
        "close-notify",
        "9.8",
        "On TLS a clean end is one with close_notify; ``careful = False`` does without.",
        "http/http1/client_connection.py",
        "http/client/test_tls.py::test_a_body_that_is_cut_off_is_an_error",
    ),
    Rule(
        "response-no-body",
        "6.3",
        "HEAD, 204, 304 and 1xx have no body, whatever their fields say. If there is one, the "
        "connection is closed.",
        "http/wire/framing.py",
    ),
    Rule(
        "connect-response",
        "6.3, RFC 9110 9.3.6",
        "2xx to CONNECT opens a tunnel, whatever its fields say.",
        "http/wire/framing.py",
    ),
    Rule(
        "unasked",
        "9.2, 9.3",
        "Bytes before a request was sent, or after a complete response: the connection is closed. "
        "They are never taken for the next response.",
        "http/http1/client_connection.py",
    ),
    Rule(
        "response-persistence",
        "9.3",
        "A connection is used again if neither side has said ``close``, and it is idle for not too "
        "long.",
        "http/http1/client_connection.py",
    ),
    Rule(
        "truncated",
        "8",
        "A truncated response is an error, never complete.",
        "http/wire/reader.py",
    ),
    Rule(
        "early-response",
        "9.5",
        "A response before the request was all sent is delivered, and the request abandoned; what "
        "has arrived is read before it counts that sending fails.",
        "http/http1/client_connection.py",
    ),
    Rule(
        "retries",
        "RFC 9110 9.2.2",
        "A client tries a request again only if none of it was sent, or if its method is "
        "idempotent and no byte of a response came.",
        "http/client/exchange.py",
    ),
    Rule(
        "open-connections",
        "9.3.1",
        "A request that must not be repeated is written on a reused connection only after the "
        "connection was seen open in the same turn of the loop.",
        "http/http1/client_connection.py",
        "http/client/test_retrying.py::"
        "test_request_not_to_be_repeated_is_not_sent_on_ended_connection",
    ),
    Rule(
        "connecting",
        "RFC 9110 15.6.3",
        "A name that is not found, an address that is refused or does not answer in time: an error "
        "each.",
        "http/client/connect.py",
        "http/client/test_connect.py::test_how_connecting_fails",
    ),
    Rule(
        "response-time",
        "9.5",
        "The head, each byte, and the whole have their own time: an error each.",
        "http/http1/client_timeouts.py",
    ),
]

CHAPTERS = {
    "What a client sends": _CLIENT_OUTPUT,
    "Responses that arrive": _RESPONSES,
}
