"""The application of the ASGI servers."""

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"13")],
}
BODY = {"type": "http.response.body", "body": b"Hello, world!"}
LARGE_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", b"1048576")],
}
LARGE_BODY = {"type": "http.response.body", "body": b"x" * 1048576}


async def app(scope, receive, send):
    if scope["method"] == "POST":
        while (await receive()).get("more_body"):
            pass
    elif scope["path"] == "/large":
        await send(LARGE_START)
        await send(LARGE_BODY)
        return
    await send(START)
    await send(BODY)
