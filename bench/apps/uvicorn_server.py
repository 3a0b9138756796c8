"""uvicorn with uvloop and httptools, a bare ASGI application. Usage: uvicorn_server.py PORT"""

import sys

import uvicorn

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")],
}
BODY = {"type": "http.response.body", "body": b"Hello, world!"}


async def app(scope, receive, send):
    await send(START)
    await send(BODY)


uvicorn.run(
    app,
    port=int(sys.argv[1]),
    loop="uvloop",
    http="httptools",
    lifespan="off",
    access_log=False,
    log_level="warning",
    timeout_keep_alive=600,
)
