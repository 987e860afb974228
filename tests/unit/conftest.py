"""Unit tests need nothing: no database, no network, and none of the settings of whoever runs them."""

import os
import socket
from typing import Any

import pytest


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_given: Any, **_named: Any) -> None:  # Any: whatever a caller tries
        raise AssertionError("a unit test speaks to nobody")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "bind", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for name in os.environ:
        if name.startswith("LANDBRIDGE_"):
            monkeypatch.delenv(name)
