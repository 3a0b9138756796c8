"""uvloop and httptools, bytes that are always the same, nothing else. Usage: raw_server.py PORT"""

import asyncio
import sys

import httptools
import uvloop

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n"
HELLO = HEAD % 13 + b"Hello, world!"
LAST = HELLO.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
LARGE = HEAD % 1048576 + b"x" * 1048576


class Raw(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data):
        self.parser.feed_data(data)

    def on_url(self, url):
        self.answer = LARGE if url == b"/large" else HELLO

    def on_message_complete(self):
        if self.parser.should_keep_alive():
            self.transport.write(self.answer)
        else:
            self.transport.write(LAST)
            self.transport.close()


async def main():
    loop = asyncio.get_running_loop()
    await loop.create_server(Raw, "127.0.0.1", int(sys.argv[1]), backlog=4096)
    await asyncio.Event().wait()


uvloop.run(main())
