"""What a Request step sends, and what it makes of what comes back."""

import base64
import binascii
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import Final
from urllib.parse import unquote, urlencode, urlsplit

from pydantic import JsonValue

from landbridge.errors import InvalidRequest
from landbridge.files import Contents, RunFiles
from landbridge.outbound import Stream

LARGEST_TEXT: Final = 1 << 20
"""Bytes of an answer that become JSON or text; larger and binary ones become a File."""

ENCODING: Final = "X-Paragon-Encoding"
"""The header that says how a raw body's text holds bytes: `hex` or `base64`. It is not sent."""

Values = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Payload:
    """A body that can be sent any number of times: bytes, and contents of files among them."""

    content_type: str | None = None
    parts: tuple[bytes | Contents, ...] = ()

    @property
    def size(self) -> int:
        """Return the length in bytes."""
        return sum(len(part) if isinstance(part, bytes) else part.size for part in self.parts)

    def body(self) -> bytes | AsyncIterator[bytes] | None:
        """Return the body, to be sent once."""
        if not self.parts:
            return None
        if not self.size or all(isinstance(part, bytes) for part in self.parts):
            return b"".join(part for part in self.parts if isinstance(part, bytes))
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        for part in self.parts:
            if isinstance(part, bytes):
                yield part
            else:
                async for chunk in part.chunks():
                    yield chunk


async def payload(body: Values, encoding: str | None, files: RunFiles) -> Payload:
    """Return what a resolved body means. Raises `InvalidRequest` naming the field that is wrong, and `FileUnknown`."""
    match body.get("type", "none"):
        case "none":
            return Payload()
        case "multipart":
            return await _multipart(_object(body["values"]), files)
        case "raw":
            return await _raw(body, encoding, files)
        case _:
            return Payload(*_written(body))


def _written(body: Values) -> tuple[str, tuple[bytes]]:
    """Return the content type and the bytes of a body that holds no files."""
    match body["type"]:
        case "json":
            return "application/json", (_json(body["value"]),)
        case "graphql":
            variables = body.get("variables") or {}
            return "application/json", (_json({"query": text(body["query"], "body.query"), "variables": variables}),)
        case "form":
            pairs = list(fields(_object(body["values"]), "body.values"))
            return "application/x-www-form-urlencoded", (urlencode(pairs).encode(),)
        case _:
            return "application/xml; charset=utf-8", (text(body["text"], "body.text").encode(),)


async def _raw(body: Values, encoding: str | None, files: RunFiles) -> Payload:
    value, named = body["value"], body.get("contentType")
    if _is_file(value):
        file = await files.receive(value)
        return Payload(file.mime_type, (files.open(file),))
    written = text(value, "body.value")
    content_type = (
        text(named, "body.contentType") if named else "application/octet-stream" if encoding else "text/plain"
    )
    if not encoding:
        charset = "" if "charset" in content_type.lower() or not content_type.startswith("text/") else "; charset=utf-8"
        return Payload(content_type + charset, (written.encode(),))
    return Payload(content_type, (_decoded(written, encoding.lower()),))


def _decoded(written: str, encoding: str) -> bytes:
    try:
        if encoding == "hex":
            return bytes.fromhex(written)
        if encoding == "base64":
            return base64.b64decode(written, validate=True)
    except (ValueError, binascii.Error):
        raise InvalidRequest(f"body.value: this is not {encoding}, as the header {ENCODING} says.") from None
    raise InvalidRequest(f"headers.{ENCODING}: this is hex or base64.")


async def _multipart(values: Values, files: RunFiles) -> Payload:
    """Return `multipart/form-data` (RFC 7578), names and file names escaped as browsers do."""
    boundary = secrets.token_hex(16)
    parts: list[bytes | Contents] = []
    for name, value in _each(values):
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{_in_quotes(name)}"'
        if _is_file(value):
            file = await files.receive(value)
            head += f'; filename="{_in_quotes(file.name)}"\r\nContent-Type: {_in_line(file.mime_type)}'
            parts += [f"{head}\r\n\r\n".encode(), files.open(file), b"\r\n"]
        else:
            parts.append(f"{head}\r\n\r\n{_scalar_or_json(value)}\r\n".encode())
    return Payload(f"multipart/form-data; boundary={boundary}", (*parts, f"--{boundary}--\r\n".encode()))


def _in_quotes(name: str) -> str:
    return name.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def _in_line(value: str) -> str:
    return value.replace("\r", "").replace("\n", "")


def _is_file(value: JsonValue) -> bool:
    return isinstance(value, dict) and ({"id", "sha256"} <= value.keys() or {"data", "name"} <= value.keys())


def fields(values: Values, where: str) -> Iterator[tuple[str, str]]:
    """Yield what a form or a query holds: a list is a field that is there several times, null is left out."""
    for name, value in _each(values):
        if _is_file(value):
            raise InvalidRequest(f"{where}.{name}: a file is sent in a multipart or raw body.")
        yield name, _scalar_or_json(value)


def _each(values: Values) -> Iterator[tuple[str, JsonValue]]:
    for name, value in values.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield name, one


def text(value: JsonValue, where: str) -> str:
    """Return a text, or a number or truth value written out. Raises `InvalidRequest` naming `where` for others."""
    if isinstance(value, dict | list):
        raise InvalidRequest(f"{where}: this is a text, not {'an object' if isinstance(value, dict) else 'a list'}.")
    return "" if value is None else _scalar_or_json(value)


def _scalar_or_json(value: JsonValue) -> str:
    return value if isinstance(value, str) else _json(value).decode()


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _object(value: JsonValue) -> Values:
    if not isinstance(value, dict):
        raise InvalidRequest("body.values: this is an object of fields.")
    return value


_TEXTUAL = frozenset({"json", "xml", "javascript", "x-www-form-urlencoded", "yaml", "x-yaml", "graphql", "x-ndjson"})


def readable(body: bytes, headers: Mapping[str, str]) -> JsonValue:
    """Return a whole small body as JSON if it is called that and is it, else as text; or raise `ValueError`."""
    kind = Message()
    if said := headers.get("Content-Type"):
        kind["Content-Type"] = said
    main, sub = kind.get_content_maintype(), kind.get_content_subtype().rpartition("+")[2]
    if (main != "text" and sub not in _TEXTUAL) or headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ValueError("this is called no text")
    try:
        decoded = body.decode(kind.get_content_charset() or "utf-8")
    except LookupError:
        raise ValueError("nobody knows this charset") from None
    if sub == "json":
        with contextlib.suppress(ValueError, RecursionError):
            value: JsonValue = json.loads(decoded, parse_constant=_no_number)
            return value
    if "\0" in decoded:
        raise ValueError("this is no text")
    return decoded


def _no_number(_name: str) -> None:
    raise ValueError("NaN and Infinity are not JSON")


async def received(stream: Stream, url: str, files: RunFiles) -> JsonValue:
    """Return an answer's body: JSON, text, null if there is none, or a File of the run."""
    chunks, head = stream.chunks(), bytearray()
    async for chunk in chunks:
        head += chunk
        if len(head) > LARGEST_TEXT:
            break
    if not head:
        return None
    if len(head) <= LARGEST_TEXT:
        with contextlib.suppress(ValueError):
            return readable(bytes(head), stream.headers)
    mime_type = stream.headers.get("Content-Type", "").partition(";")[0].strip() or "application/octet-stream"
    file = await files.save(_name(stream, url), mime_type, _whole(bytes(head), chunks))
    saved: JsonValue = file.model_dump(mode="json", by_alias=True)
    return saved


async def _whole(head: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield head
    async for chunk in rest:
        yield chunk


def _name(stream: Stream, url: str) -> str:
    """Return what to call an answer's file: as the answer says, else as the URL ends."""
    disposition = Message()
    disposition["Content-Disposition"] = stream.headers.get("Content-Disposition", "")
    said = disposition.get_filename() or unquote(urlsplit(url).path)
    return said.replace("\\", "/").rpartition("/")[2][:255] or "answer"
