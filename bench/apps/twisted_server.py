"""Twisted Web as a server. Usage: twisted_server.py PORT"""

import sys

from twisted.internet import reactor
from twisted.web import resource, server

LARGE = b"x" * 1048576


class Hello(resource.Resource):
    isLeaf = True

    def render_GET(self, request):
        request.setHeader(b"content-type", b"text/plain")
        return LARGE if request.path == b"/large" else b"Hello, world!"

    render_POST = render_GET


reactor.listenTCP(int(sys.argv[1]), server.Site(Hello(), timeout=600), 4096, "127.0.0.1")
reactor.run()
