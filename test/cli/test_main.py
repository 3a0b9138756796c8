"""The command line as a whole."""

from __future__ import annotations

import pytest
from cli_support import complains, here
from cli_support import thor as run

import thor
from thor.cli import COMMANDS


def test_the_version_is_the_package_s() -> None:
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


@pytest.mark.parametrize(
    ("args", "says"),
    [
        pytest.param([], "serve, fetch, proxy, demo", id="nothing"),
        pytest.param(["sing"], "invalid choice: 'sing'", id="unknown-command"),
        pytest.param(["serve"], "DIRECTORY", id="no-directory"),
        pytest.param(["serve", ".", "--listne", "x"], "--listne", id="misspelt-option"),
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
def test_an_address_that_is_none_is_explained(listen: str) -> None:
    complains(here("serve", ".", "--listen", listen), 2, listen)
