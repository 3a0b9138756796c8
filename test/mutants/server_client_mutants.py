"""Mutants of the HTTP server and the HTTP client: timeouts, persistence, pool, retries."""

from __future__ import annotations

from mutations import Mutant

PATIENCE = ("test/http/server/test_timeouts.py",)
LINGERING = ("test/http/server/test_lingering.py",)
DRAINING = ("test/http/server/test_draining.py",)
PERSISTENCE = ("test/http/server/test_persistence.py",)
UPGRADE = ("test/http/server/test_upgrade.py",)
RETRYING = ("test/http/client/test_retrying.py",)
POOL = ("test/http/client/test_pool.py",)
CLIENT_PATIENCE = ("test/http/client/test_timeouts.py",)
CLIENT_CONNECT = ("test/http/client/test_connect.py",)

SERVER_CONNECTION = "thor/http/http1/server_connection.py"
ENDING = "thor/http/http1/server_connection.py"
SERVER_PATIENCE = "thor/http/http1/server_timeouts.py"
BODY_WRITER = "thor/http/http1/server_stream.py"
CLIENT_REQUEST = "thor/http/client/request.py"
CLIENT_EXCHANGE = "thor/http/client/exchange.py"
ATTEMPTS = "thor/http/client/attempts.py"
CLIENT_POOL = "thor/http/client/pool.py"
SERVER_CASES = ("test/conformance/test_server.py::test_case_in_memory",)
CLIENT_CASES = ("test/conformance/test_client.py::test_case_in_memory",)

MUTANTS = (
    Mutant(
        "server-head-timeout-restarts",
        "thor/http/http1/server_requests.py",
        "        elif self._head is not STARTED and self.reader.started:\n",
        "        elif self.reader.started:\n",
        SERVER_CASES,
        "each byte of a head starts its timeout anew: slowloris",
    ),
    Mutant(
        "server-body-rate",
        SERVER_PATIENCE,
        "        slow = 0 < arrived < (settings.min_body_rate or 0) * RATE_WINDOW_S\n",
        "        slow = False\n",
        PATIENCE,
        "a body that comes byte by byte is waited for",
    ),
    Mutant(
        "server-send-timeout",
        SERVER_PATIENCE,
        "    if progress.write_blocked and settings.send_timeout:\n",
        "    if False:\n",
        PATIENCE,
        "a client that does not read its response is kept for ever",
    ),
    Mutant(
        "server-half-close-timeout",
        SERVER_PATIENCE,
        "    if wait.half_closed and settings.half_close_timeout:\n",
        "    if False:\n",
        SERVER_CASES,
        "a client that has closed its side is answered for ever",
    ),
    Mutant(
        "server-idle-timeout",
        "thor/http/http1/server_requests.py",
        "            if idle_timeout := server.idle_timeout:\n",
        "            if idle_timeout := None:\n",
        PATIENCE,
        "a connection without requests is kept for ever",
    ),
    Mutant(
        "server-lingering-close",
        ENDING,
        "        if not self.server.linger_timeout:\n",
        "        if True:\n",
        LINGERING,
        "an error response is lost in a reset, since its request is not read",
    ),
    Mutant(
        "server-linger-bytes",
        "thor/http/http1/teardown.py",
        "        if self._left < 0:\n",
        "        if False:\n",
        LINGERING,
        "a client whose request was refused sends on without an end",
    ),
    Mutant(
        "server-drain-closes",
        "thor/http/http1/server_requests.py",
        "        if self._server.draining or self._server.crowded:\n            return False\n",
        "",
        DRAINING,
        "a response of a server that stops promises a next request",
    ),
    Mutant(
        "server-shutdown-truncates",
        ENDING,
        "            tcp_conn.abort()  # a clean close would make it look complete\n",
        "            pass\n",
        ("test/http/server/test_server.py",),
        "a response that a shutdown cut off looks complete",
    ),
    Mutant(
        "server-drain-bytes",
        "thor/http/http1/server_requests.py",
        "                if self._discarded > self._server.drain_bytes:\n",
        "                if False:\n",
        PERSISTENCE,
        "the rest of a request that was answered is read without an end",
    ),
    Mutant(
        "server-read-ahead",
        SERVER_CONNECTION,
        "            and reader.buffered > self.server.read_ahead_bytes\n",
        "            and reader.buffered < 0\n",
        ("test/http/server/test_connection.py",),
        "pipelined requests are buffered without a bound",
    ),
    Mutant(
        "server-unread-continue",
        "thor/http/http1/server_requests.py",
        "        if exchange.expects_continue and not reader.complete and not reader.buffered:\n",
        "        if False:\n",
        SERVER_CASES,
        "after a final response instead of 100 a body is taken for the next request",
    ),
    Mutant(
        "server-kept-half-request",
        "thor/http/http1/server_requests.py",
        "            or self._head is STARTED\n            or self.reader.buffer\n",
        "",
        ("test/http/server/test_connection.py",),
        "half a request is lost when others have had one since",
    ),
    Mutant(
        "server-kept-leak",
        "thor/http/http1/server_requests.py",
        "            self._server.kept_requests.remove(self)\n",
        "            pass\n",
        ("test/http/server/test_connection.py",),
        "connections that are over stay in memory",
    ),
    Mutant(
        "server-kept-limits",
        "thor/http/server/server.py",
        "deque(each for each in kept if not each.leave_if_idle())",
        "kept",
        ("test/http/server/test_connection.py",),
        "a limit that is set does not hold for connections that wait",
    ),
    Mutant(
        "server-half-closed-persists",
        "thor/http/http1/server_requests.py",
        "        return not self._connection.half_closed or reader.buffered > 0\n",
        "        return True\n",
        ("test/http/server/test_half_close.py",),
        "a client that has closed its side is promised a next response",
    ),
    Mutant(
        "server-upgrade-unoffered",
        "thor/http/server/exchange.py",
        '        if self.method != b"CONNECT" and protocol.lower() not in offered:\n',
        "        if False:\n",
        SERVER_CASES,
        "a connection is switched to a protocol that nobody offered",
    ),
    Mutant(
        "server-upgrade-loses-data",
        SERVER_CONNECTION,
        "        rest = requests.reader.take_rest()\n",
        '        rest = requests.reader.take_rest() and b""\n',
        UPGRADE,
        "what came behind an upgrade request is lost",
    ),
    Mutant(
        "server-error-to-head",
        ENDING,
        '        if self.requests.exchange is not None and self.requests.exchange.method == b"HEAD":\n',
        "        if False:\n",
        ("test/http/server/test_any_order.py",),
        "an error response to HEAD has a body",
    ),
    Mutant(
        "server-https-believed",
        SERVER_CONNECTION,
        "        if tcp_conn is None or trusts is None:\n            return False\n",
        "        if tcp_conn is None or trusts is None:\n            return True\n",
        ("test/conformance/test_server.py",),
        "anybody's https target over plain TCP is believed",
    ),
    Mutant(
        "body-above-length",
        BODY_WRITER,
        "        if framing == LENGTH:\n",
        "        if False:\n",
        ("test/http/server/test_exchange.py",),
        "a program sends more than its Content-Length",
    ),
    Mutant(
        "body-below-length",
        BODY_WRITER,
        "        elif self.framing == LENGTH and self._length_left:\n",
        "        elif False:\n",
        ("test/http/server/test_exchange.py",),
        "a program sends less than its Content-Length, and the connection persists",
    ),
    Mutant(
        "client-repeats-post",
        CLIENT_EXCHANGE,
        "        if request.is_replayable and (request.is_idempotent or not sent):\n",
        "        if request.is_replayable:\n",
        RETRYING,
        "a POST that may have been executed is sent again",
    ),
    Mutant(
        "client-stale-connection",
        ATTEMPTS,
        "        if at_once and not self._has_restarted:\n",
        "        if False:\n",
        RETRYING,
        "a request on a connection that the server closed fails or waits",
    ),
    Mutant(
        "client-retry-limit",
        ATTEMPTS,
        "        elif self._retries < client.retry_limit:\n",
        "        elif self._retries <= client.retry_limit:\n",
        RETRYING,
        "a request is retried once more than retry_limit",
    ),
    Mutant(
        "client-replay-limit",
        CLIENT_REQUEST,
        "        if self._replay_bytes - len(self.head.data) > self._owner.retry_body_limit or (\n",
        "        if False or (\n",
        RETRYING,
        "a body is kept for a retry whatever its size",
    ),
    Mutant(
        "pool-connection-limit",
        CLIENT_POOL,
        "len(self.open) + len(self.connecting) < limit\n",
        "len(self.open) + len(self.connecting) <= limit\n",
        POOL,
        "one connection more than max_server_conn is opened",
    ),
    Mutant(
        "pool-waiting-limit",
        CLIENT_POOL,
        "        elif len(self.waiting) >= exchange.client.max_waiting:\n",
        "        elif False:\n",
        POOL,
        "requests wait for a connection without a bound",
    ),
    Mutant(
        "pool-keyed-by-settings",
        "thor/http/client/route.py",
        "        self.key = (*found.values(), *limits.values(), *self.protocols.items())\n",
        "        self.key = (*limits.values(),)\n",
        (*POOL, "test/http/client/test_route.py"),
        "clients that verify share connections with those that do not",
    ),
    Mutant(
        "client-reuses-dirty-connection",
        "thor/http/http1/client_connection.py",
        "            and not (extra or self._ended)\n",
        "            and not self._ended\n",
        ("test/http/client/test_hostile_origins.py",),
        "bytes behind a response wait on a connection that is used again",
    ),
    Mutant(
        "client-unasked-protocol",
        "thor/http/http1/client_connection.py",
        "        if exchange.protocol not in [protocol.lower() for protocol in protocols]:\n",
        "        if False:\n",
        CLIENT_CASES,
        "an origin switches to a protocol that was not asked for",
    ),
    Mutant(
        "client-response-timeout",
        "thor/http/http1/client_timeouts.py",
        "    if settings.response_timeout and phase is Phase.HEAD and sent:\n",
        "    if False:\n",
        CLIENT_PATIENCE,
        "a response that does not begin is waited for",
    ),
    Mutant(
        "client-exchange-timeout",
        "thor/http/http1/client_timeouts.py",
        "    at, timeout = wait.expires_at, Timeout.EXCHANGE\n",
        "    at, timeout = inf, Timeout.EXCHANGE\n",
        CLIENT_PATIENCE,
        "an exchange lasts longer than exchange_timeout",
    ),
    Mutant(
        "client-continue-timeout",
        "thor/http/http1/client_timeouts.py",
        "        until = progress.sent_at + CONTINUE_S\n",
        "        until = inf\n",
        CLIENT_CASES,
        "a body waits for ever for a 100 that never comes",
    ),
    Mutant(
        "client-check-ip",
        "thor/http/client/connect.py",
        '        if settings.check_ip is not None and not target.host.startswith("unix:"):\n',
        "        if False:\n",
        CLIENT_CONNECT,
        "addresses that check_ip refuses are connected to",
    ),
    Mutant(
        "client-alpn",
        "thor/http/client/connect.py",
        "        elif agreed in HTTP1_PROTOCOLS:\n",
        "        elif True:\n",
        ("test/http/client/test_tunnel.py",),
        "HTTP/1.1 is spoken where another protocol was agreed on",
    ),
    Mutant(
        "client-tunnel-data",
        "thor/http/client/tunnel.py",
        "        if self._reader.buffered:\n",
        "        if False:\n",
        ("test/http/client/test_tunnel.py",),
        "what a proxy adds behind its answer goes into the TLS of the tunnel",
    ),
    Mutant(
        "client-careful",
        "thor/http/http1/client_connection.py",
        'if type(exc).__name__ == "SSLEOFError" and not exchange.client.careful:',
        'if type(exc).__name__ == "SSLEOFError":',
        ("test/http/client/test_tls.py",),
        "a response that was cut off under TLS looks complete",
    ),
)
