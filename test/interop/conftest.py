"""What the interop tests run against: each program is started once for the tests that use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cli_support import Running, running
from interop_data import PATTERN
from interop_support import ANYWHERE, Served, ends_well, node_origin, thor_server
from interop_thor import Certificates, make_certificates


@pytest.fixture(scope="session")
def node() -> Iterator[Served]:
    """An origin on Node."""
    with node_origin() as origin:
        yield origin


@pytest.fixture(scope="session")
def server() -> Iterator[Served]:
    """An `HttpServer` that echoes, in a process of its own."""
    with thor_server() as server:
        yield server


@pytest.fixture(scope="module")
def proxy(node: Served) -> Iterator[Running]:
    """`thor proxy` in front of Node."""
    with running("proxy", "--to", node.url, *ANYWHERE) as proxy:
        yield proxy
        ends_well(proxy)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates as files, and a file to serve: `www/pattern`."""
    found = make_certificates(tmp_path_factory.mktemp("interop"))
    (found.folder / "www").mkdir()
    (found.folder / "www" / "pattern").write_bytes(PATTERN)
    return found


@pytest.fixture(scope="session")
def secure_node(certificates: Certificates) -> Iterator[Served]:
    """An https origin on Node."""
    with node_origin("node", certificates.certificate, certificates.key) as origin:
        yield origin


@pytest.fixture(scope="session")
def tls_proxy(certificates: Certificates, secure_node: Served) -> Iterator[Running]:
    """`thor proxy` with TLS on both sides, in front of Node."""
    to = ("--to", f"https://localhost:{secure_node.port}", "--origin-ca", certificates.ca)
    with running("proxy", *to, *ANYWHERE, *certificates.options) as proxy:
        yield proxy
        ends_well(proxy)
