"""The small pages of a sign-in: plain HTML, one nonce'd script at most, nothing from anywhere else."""

import html
import json
import secrets
from collections.abc import Iterable, Mapping
from typing import Any

from starlette.responses import HTMLResponse

CUT_OFF = "opener=none"
"""What a nonce page adds to its address to say that it has no opener."""

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style nonce="{nonce}">
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 0; display: grid; min-height: 100vh; place-items: center;
  color: #1b1f24; background: #f6f7f9; }}
main {{ max-width: 26rem; padding: 2rem; text-align: center; }}
h1 {{ font-size: 1.25rem; }}
button {{ font: inherit; padding: .5rem 1.25rem; border: 1px solid #57606a; border-radius: 6px; background: #fff; }}
@media (prefers-color-scheme: dark) {{ body {{ color: #e6edf3; background: #14181d; }}
  button {{ color: inherit; background: #21262d; }} }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
<p role="status">{message}</p>
{rest}
</main>
<script nonce="{nonce}">{script}</script>
</body>
</html>
"""
_CLOSE_BUTTON = '<button type="button" id="close">Close this window</button>'
_ON_CLOSE = "document.getElementById('close').addEventListener('click', () => window.close());"


def nonce_page(app_origin: str) -> HTMLResponse:
    """Tell the page that opened us that the browser is ready to go to the provider.

    A window that nobody opened, or that was cut off from its opener, comes back with `opener=none`.
    """
    message, target = _for_script({"type": "oauth-nonce-loaded"}), _for_script(app_origin)
    script = f"""if (window.opener) window.opener.postMessage({message}, {target});
else location.replace(location.href + "&{CUT_OFF}");"""
    return _page("One moment", "You are being taken to Microsoft's sign-in.", script=script)


def connected_page(message: str) -> HTMLResponse:
    """Say that all is well, and close."""
    return _page("Connected", message, script=f"{_ON_CLOSE} window.close();", rest=_CLOSE_BUTTON)


def refused_page(message: str, *, status: int = 400) -> HTMLResponse:
    """Say what went wrong to the user alone, since we do not know which app to tell."""
    return _page("Not connected", message, script=_ON_CLOSE, rest=_CLOSE_BUTTON, status=status)


def failed_page(failure: Mapping[str, Any], integration_id: str, app_origins: Iterable[str]) -> HTMLResponse:
    """Say what went wrong to the app that opened us, and close; to the user, if there is no app to tell.

    A caller of the SDK's `installIntegration` or `connect` learns of a failure by this message alone: what the SDK
    learns by polling reaches callers of `installFlow` only. The browser delivers it to no page but the app's.
    """
    told = {
        "type": "oauth_error_callback",
        "error": failure["message"],
        "errorResponse": failure,
        "integrationId": integration_id,
    }
    script = f"""{_ON_CLOSE}
const told = {_for_script(told)};
if (window.opener) {{
  for (const origin of {_for_script(sorted(app_origins))}) window.opener.postMessage(told, origin);
  window.close();
}}"""
    return _page("Not connected", failure["message"], script=script, rest=_CLOSE_BUTTON)


def _for_script(value: object) -> str:
    """Return JSON that cannot end the script that it stands in."""
    return json.dumps(value).replace("<", "\\u003c")


def _page(title: str, message: str, *, script: str, rest: str = "", status: int = 200) -> HTMLResponse:
    nonce = secrets.token_urlsafe(16)
    body = _PAGE.format(title=html.escape(title), message=html.escape(message), rest=rest, script=script, nonce=nonce)
    policy = f"default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; frame-ancestors 'none'"
    return HTMLResponse(
        body,
        status_code=status,
        headers={
            "Content-Security-Policy": f"{policy}; base-uri 'none'; form-action 'none'",
            "Cache-Control": "no-store",
            "Referrer-Policy": "no-referrer",  # the user's token is in the nonce page's URL
            "X-Content-Type-Options": "nosniff",
        },
    )
