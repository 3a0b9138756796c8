"""Load of wrk: no request fails, whatever serves it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cli_support import Running, running
from interop_support import ANYWHERE, Served, ends_well, interop, wrk

pytestmark = interop

#: Sixteen requests at a time; each response has to be that of its request's method and path.
PIPELINE = """
local requests = {}
function init(args)
  for i = 1, 16 do requests[i] = wrk.format("GET", "/number/" .. i) end
  requests = table.concat(requests)
end
function request() return requests end
function response(status, headers, body)
  if status ~= 200 or not body:find('"/number/', 1, true) then os.exit(1) end
end
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`thor serve`."""
    folder = tmp_path_factory.mktemp("www")
    (folder / "hello").write_bytes(b"x" * 300_000)
    with running("serve", str(folder), *ANYWHERE) as server:
        yield server
        ends_well(server)


@pytest.mark.parametrize(
    ("what", "args"),
    [
        pytest.param("server", [], id="server"),
        pytest.param("files", [], id="files"),
        pytest.param("proxy", [], id="proxy"),
        pytest.param("proxy", ["-H", "Connection: close"], id="proxy, new connections"),
        pytest.param("tls_proxy", [], id="proxy with TLS"),
    ],
)
@pytest.mark.usefixtures("server", "files", "proxy", "tls_proxy")
def test_wrk_counts_no_error(request: pytest.FixtureRequest, what: str, args: list[str]) -> None:
    target: Served | Running = request.getfixturevalue(what)
    scheme = "https" if what == "tls_proxy" else "http"
    load = wrk(f"{scheme}://127.0.0.1:{target.port}/hello", *args)
    assert load.requests > 0
    assert load.errors == 0


def test_wrk_pipelines_without_an_error(server: Served, tmp_path: Path) -> None:
    script = tmp_path / "pipeline.lua"
    script.write_text(PIPELINE)
    load = wrk(server.url, "-s", str(script))
    assert load.requests > 0
    assert load.errors == 0
