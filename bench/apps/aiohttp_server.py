"""aiohttp on uvloop as a server. Usage: aiohttp_server.py PORT"""

import sys

import uvloop
from aiohttp import web

LARGE = b"x" * 1048576


async def answer(request):
    return web.Response(body=b"Hello, world!", content_type="text/plain")


async def large(request):
    return web.Response(body=LARGE, content_type="text/plain")


async def post(request):
    async for _ in request.content.iter_any():
        pass
    return await answer(request)


app = web.Application()
app.router.add_get("/", answer)
app.router.add_get("/large", large)
app.router.add_post("/", post)
web.run_app(
    app,
    host="127.0.0.1",
    port=int(sys.argv[1]),
    access_log=None,
    print=None,
    keepalive_timeout=600,
    loop=uvloop.new_event_loop(),
)
