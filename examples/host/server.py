"""The product's backend. What a customer writes: sign a token for the user who is logged in, and serve a page."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import jwt

PAGE = Path(__file__).with_name("index.html")
SDK = Path(__file__).resolve().parents[2] / "build" / "sdk.js"

SERVICES = (
    "ZEUS_PUBLIC_URL",
    "HERMES_PUBLIC_URL",
    "WORKER_PROXY_PUBLIC_URL",
    "API_TRIGGER_KIT_PUBLIC_URL",
    "CONNECT_PUBLIC_URL",
    "DASHBOARD_PUBLIC_URL",
    "CDN_PUBLIC_URL",
    "PASSPORT_PUBLIC_URL",
    "PASSPORT_PRODUCTION_URL",
)
"""The SDK knows nine services; one Landbridge is all of them."""


@dataclass(frozen=True)
class Product:
    """What the product's backend knows: its project, and the private key that signs its users' tokens."""

    landbridge_url: str
    project_id: str
    signing_key_id: str
    private_key: str

    def user_token(self, user_id: str) -> str:
        """Return a token that lets the browser of this user speak to Landbridge for an hour."""
        now = int(time.time())
        claims = {"sub": user_id, "iat": now, "exp": now + 3600, "aud": f"useparagon.com/{self.project_id}"}
        return jwt.encode(claims, self.private_key, algorithm="RS256", headers={"kid": self.signing_key_id})

    def setup(self) -> dict[str, object]:
        """Return what the page needs."""
        return {
            "projectId": self.project_id,
            "userToken": self.user_token("ada"),
            "services": dict.fromkeys(SERVICES, self.landbridge_url),
        }


class _Handler(BaseHTTPRequestHandler):
    product: ClassVar[Product | None] = None

    def do_GET(self) -> None:
        """Serve the page, the SDK, and the setup of whoever is logged in: here always Ada."""
        if self.path == "/":
            self._send("text/html; charset=utf-8", PAGE.read_bytes())
        elif self.path == "/sdk.js":
            self._send("text/javascript; charset=utf-8", SDK.read_bytes())
        elif self.path == "/setup.js" and self.product:
            self._send("text/javascript", f"const setup = {json.dumps(self.product.setup())};".encode())
        else:
            self.send_error(404)

    def log_message(self, *_: object) -> None:
        """Say nothing: the terminal belongs to the demonstration."""

    def _send(self, content_type: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Referrer-Policy", "strict-origin-when-cross-origin")
        self.end_headers()
        self.wfile.write(body)


class Host:
    """The product's server, listening from the start so that its origin is known, serving once it has a project."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def serving(self, product: Product) -> Iterator[str]:
        """Serve the product's page until left; give its URL."""
        _Handler.product = product
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self.url
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()
