"""aiohttp on uvloop as a server. Usage: aiohttp_server.py PORT"""

import sys

import uvloop
from aiohttp import web


async def answer(request):
    return web.Response(body=b"Hello, world!", content_type="text/plain")


app = web.Application()
app.router.add_get("/", answer)
web.run_app(
    app,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    access_log=None,
    print=None,
    keepalive_timeout=600,
    loop=uvloop.new_event_loop(),
)
