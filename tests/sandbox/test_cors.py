"""Pages of other origins may call Graph, the hosts beside it, and the token endpoint."""

from __future__ import annotations

import pytest
from tests.sandbox.caller import Caller


@pytest.mark.parametrize("service", [0, 1, 3, 4, 5])
async def test_a_page_of_another_origin_may_call(caller: Caller, service: int) -> None:
    paths = {0: "/common/oauth2/v2.0/token", 1: "/v1.0/me/drive/root:/a.txt:/content"}
    url = f"http://127.0.0.1:{caller.facts['ports'][service]}{paths.get(service, '/x')}"
    asked = {
        "Origin": "https://app.example",
        "Access-Control-Request-Method": "PUT",
        "Access-Control-Request-Headers": "authorization,content-range",
    }
    async with caller.session.options(url, headers=asked) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] in ("*", "https://app.example")
        assert response.headers["Access-Control-Allow-Methods"] == "PUT"
        assert response.headers["Access-Control-Allow-Headers"] == "authorization,content-range"
    async with caller.session.get(url, headers={"Origin": "https://app.example"}) as response:
        assert response.headers["Access-Control-Allow-Origin"] in ("*", "https://app.example")
        assert "Retry-After" in response.headers["Access-Control-Expose-Headers"]
