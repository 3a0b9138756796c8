"""An origin that closes connections after its responses and does not announce it.

Usage: closing_origin.py PORT SHARE DELAY_MS

SHARE: of responses that it closes after, at random (1: all of them)
DELAY_MS: how long it waits before it closes, at most; 0: not at all
"""

import random
import re
import socketserver
import sys
import time

RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\nHello, world!"
CONTENT_LENGTH = re.compile(rb"^content-length: *(\d+)\r$", re.IGNORECASE | re.MULTILINE)
SHARE, DELAY_S = float(sys.argv[2]), float(sys.argv[3]) / 1000


class Connection(socketserver.BaseRequestHandler):
    def handle(self):
        received = b""
        while data := self.request.recv(65536):
            received += data
            head, end, body = received.partition(b"\r\n\r\n")
            found = CONTENT_LENGTH.search(head + b"\r\n")
            if not end or len(body) < (int(found[1]) if found else 0):
                continue
            received = b""
            self.request.sendall(RESPONSE)
            if random.random() < SHARE:
                if DELAY_S:
                    time.sleep(random.random() * DELAY_S)
                return


class Origin(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 1024


Origin(("127.0.0.1", int(sys.argv[1])), Connection).serve_forever()
