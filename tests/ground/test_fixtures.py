"""The shared fixtures keep what they promise."""

from pathlib import Path

import asyncpg
import pytest
from playwright.async_api import Browser

PAGE = """<!doctype html>
<head>
<script>{sdk}</script>
<script>
  const ours = "http://landbridge.test";
  paragon.configureGlobal({{ host: "landbridge.test" }}, {{ CONNECT_PUBLIC_URL: ours, ZEUS_PUBLIC_URL: ours }});
</script>
</head>
<body></body>
"""


async def test_each_test_gets_an_empty_postgresql_database(postgres_url: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE guests (name text)")
    await connection.close()


@pytest.mark.parametrize("turn", range(2))
async def test_a_postgresql_database_is_not_handed_out_twice(postgres_url: str, turn: int) -> None:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("CREATE TABLE guests (name text)")
    await connection.close()


async def test_a_test_that_asks_for_a_database_runs_on_both_kinds(database_url: str) -> None:
    assert database_url.startswith(("sqlite:///", "postgresql://"))


async def test_a_page_loads_the_browser_sdk_and_asks_nobody_but_us(browser: Browser, sdk_bundle: Path) -> None:
    asked = []
    page = await browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    body = PAGE.format(sdk=sdk_bundle.read_text(encoding="utf-8").replace("</script", "<\\/script"))
    await page.route("**/*", lambda route: route.fulfill(body=body if "host.test" in route.request.url else ""))

    await page.goto("http://host.test/")
    await page.wait_for_selector("#paragon-connect-frame", state="attached")

    assert await page.evaluate("typeof paragon.authenticate") == "function"
    assert await page.evaluate("paragon.getUser()") == {"authenticated": False}
    assert asked == ["http://host.test/", "http://landbridge.test/ui"]
