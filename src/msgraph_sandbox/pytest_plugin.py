"""A OneDrive for a test in one line: ask for the fixture `msgraph_sandbox`.

One server runs for the whole session, in a thread of its own; each test finds it as at start.
`msgraph_sandbox.announcement` says where everything is, `msgraph_sandbox.control` is the control API's client.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from msgraph_sandbox.server import Sandbox


@pytest.fixture(scope="session")
def msgraph_sandbox_server() -> Iterator[Sandbox]:
    """The session's sandbox. Override this fixture to start it with a seed, switches or TLS of your own."""
    # Imported when asked for: pytest loads this file in every project that has the package installed.
    from msgraph_sandbox.server import Sandbox  # noqa: PLC0415

    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def msgraph_sandbox(msgraph_sandbox_server: Sandbox) -> Sandbox:
    """A local Microsoft with a OneDrive for each user, as it is at start."""
    msgraph_sandbox_server.control.reset()
    return msgraph_sandbox_server
