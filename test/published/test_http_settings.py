"""What the published documentation says of the settings of HTTP clients and servers."""

from __future__ import annotations

import re
from typing import Any

import pytest
from published_support import TEXT, documents, need_text

import thor

#: The settings that the texts list, with their defaults.
SETTINGS: dict[str, Any] = {
    "HttpClient.tcp_client_class": thor.TcpClient,
    "HttpClient.connect_timeout": None,
    "HttpClient.read_timeout": None,
    "HttpClient.idle_timeout": 60,
    "HttpClient.retry_limit": 2,
    "HttpClient.retry_delay": 0.5,
    "HttpServer.tcp_server_class": thor.TcpServer,
    "HttpServer.idle_timeout": 60,
}


@documents(
    "thor.http.HttpClient ( loop, idle_timeout )", "thor.http.HttpServer ( host, port, loop )"
)
@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_is_a_class_variable_with_its_default(setting: str) -> None:
    owner, name = setting.split(".")
    assert getattr(getattr(thor.http, owner), name) == SETTINGS[setting]


def test_these_are_the_settings_and_defaults_that_the_texts_list() -> None:
    need_text()
    listed = re.findall(r"^\* (Http\w+\.\w+) - (?:.* Default _?([\d.]+|None))?", TEXT, flags=re.M)
    stated = {setting: default or None for setting, default in listed}
    classes = (thor.TcpClient, thor.TcpServer)
    assert stated == {
        setting: None if value in classes else str(value) for setting, value in SETTINGS.items()
    }
