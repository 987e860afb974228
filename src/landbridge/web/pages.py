"""The small pages of a sign-in: plain HTML, one nonce'd script at most, nothing from anywhere else."""

import html
import json
import secrets

from starlette.responses import HTMLResponse

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
    """Tell the page that opened us that the browser is ready to go to the provider."""
    message, target = json.dumps({"type": "oauth-nonce-loaded"}), json.dumps(app_origin).replace("<", "\\u003c")
    script = f"if (window.opener) window.opener.postMessage({message}, {target});"
    return _page("One moment", "You are being taken to Microsoft's sign-in.", script=script)


def connected_page(message: str) -> HTMLResponse:
    """Say that all is well, and close."""
    return _page("Connected", message, script=f"{_ON_CLOSE} window.close();", rest=_CLOSE_BUTTON)


def failed_page(message: str, *, status: int = 400, closes: bool = False) -> HTMLResponse:
    """Say what went wrong; the SDK learns of it when the window is closed."""
    closing = " window.close();" if closes else ""
    return _page("Not connected", message, script=_ON_CLOSE + closing, rest=_CLOSE_BUTTON, status=status)


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
