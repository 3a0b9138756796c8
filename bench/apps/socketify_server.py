"""socketify (uWebSockets) as a server. Usage: socketify_server.py PORT"""

import sys

from socketify import App, AppListenOptions

LARGE = b"x" * 1048576


def hello(response, request):
    response.write_header("Content-Type", "text/plain")
    response.end(b"Hello, world!")


def large(response, request):
    response.write_header("Content-Type", "text/plain")
    response.end(LARGE)


def post(response, request):
    def arrived(response, chunk, is_last):
        if is_last:
            hello(response, request)

    response.on_aborted(lambda response: None)
    response.on_data(arrived)


app = App()
app.get("/", hello)
app.get("/large", large)
app.post("/", post)
app.listen(AppListenOptions(port=int(sys.argv[1]), host="127.0.0.1"), lambda config: None)
app.run()
