"""The command line as a whole."""

from __future__ import annotations

import os

import pytest
from cli_support import complains, here
from cli_support import thor as run

import thor
from thor.cli import COMMANDS


def test_version_is_the_package_s() -> None:
    said = (0, f"thor {thor.__version__}\n".encode(), "")
    assert here("--version") == said
    assert run("--version") == said


def test_help_lists_every_command() -> None:
    code, out, _ = here("--help")
    assert code == 0
    for command in COMMANDS:
        assert command.__name__.rpartition(".")[2].encode() in out


@pytest.mark.parametrize("command", ["serve", "fetch", "proxy", "demo"])
def test_every_command_explains_itself(command: str) -> None:
    code, out, err = here(command, "--help")
    assert (code, err) == (0, "")
    assert out.startswith(f"usage: thor {command}".encode())
    text = out.decode().partition("\nexamples:\n")[2]
    assert text.count(f"\n  thor {command} ") + text.startswith(f"  thor {command}") >= 2, text
    assert "\ndocumentation: doc/cli.rst" in text


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param([], "serve, fetch, proxy, demo", id="nothing"),
        pytest.param(["sing"], "invalid choice: 'sing'", id="unknown-command"),
        pytest.param(["serve"], "DIRECTORY", id="no-directory"),
        pytest.param(["serve", ".", "--listne", "x"], "--listne", id="misspelt-option"),
        pytest.param(["serve", ".", "--bogus"], "(see 'thor serve --help')", id="which-help"),
        pytest.param(["serve", ".", "--lis"], "--lis", id="abbreviated-option"),
        pytest.param(["proxy"], "--to", id="no-origin"),
        pytest.param(["proxy", "--to", "http://a", "--balance", "x"], "round_robin", id="balance"),
        pytest.param(["fetch"], "URL", id="no-url"),
        pytest.param(["demo", "--once", "--seconds", "1"], "not allowed", id="exclusive"),
    ],
)
def test_wrong_use_is_one_line_and_exit_code_2(args: list[str], says: str) -> None:
    complains(here(*args), 2, says)


@pytest.mark.parametrize(
    "listen", ["x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "::1:80", "a:-1"]
)
def test_address_that_is_none_is_explained(listen: str) -> None:
    complains(here("serve", ".", "--listen", listen), 2, listen)


@pytest.mark.parametrize("listen", ["127.0.0.1:99999", "127.0.0.1:x", ":-1"])
def test_port_that_is_none_is_told_its_range(listen: str) -> None:
    says = f"{listen!r}: the port must be a number from 0 to 65535"
    complains(here("serve", ".", "--listen", listen), 2, says)


def test_demo_says_that_it_listens_on_no_unix_socket() -> None:
    says = "'unix:/run/x': HOST:PORT is needed, not a Unix socket"
    complains(here("demo", "--listen", "unix:/run/x"), 2, says)


def test_proxys_help_says_that_the_path_of_an_origins_socket_is_whole() -> None:
    _, out, _ = here("proxy", "--help")
    assert b"unix:/PATH, whole" in b" ".join(out.split())


@pytest.mark.parametrize(
    ("args", "code"),
    [
        pytest.param(["--version"], 0, id="version"),
        pytest.param([], 2, id="nothing"),
        pytest.param(["demo", "--once"], 0, id="demo"),
        pytest.param(["demo", "--once", "--bogus"], 2, id="wrong-use"),
        pytest.param(["serve", "no-such-directory"], 1, id="failure"),
    ],
)
@pytest.mark.parametrize("closed", [(1,), (2,), (0, 1, 2)], ids=["stdout", "stderr", "all"])
def test_closed_streams_change_nothing_else(
    args: list[str], code: int, closed: tuple[int, ...]
) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    ended, out, err = run(*args, preexec_fn=close)
    assert ended == code
    assert "Traceback" not in err
    if closed == (1,):
        assert (out, err.count("\n")) == (b"", 1 if code else 0)
