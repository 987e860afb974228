"""Bodies in each form in which files come, of tools' calls and of requests that start workflows.

JSON with a file as `{name, data, mimeType}`, multipart with a part `paragon-file`, or the contents alone, with the rest
in the query. Contents go to the files of the call or the run as they arrive; what is held at once is bounded.
"""

import re
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from email.message import Message
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from landbridge.errors import InvalidRequest, TooLarge
from landbridge.files import File, RunFiles
from landbridge.web.forms import parsed, parsed_object

LARGEST_FORM = 1 << 20
"""Bytes that a body may have apart from the contents of files in it."""

FILE_PART = "paragon-file"
"""The name of the part that holds the file."""

_MOST_PARTS = 1000

_LONG_DATA = 64 << 10
"""From so many characters on the `data` of a file is not held, but set aside."""

_DATA = re.compile(rb'"data"\s*:\s*"')
_LONGEST_MATCH = 64
_ENDS = re.compile(rb'"|\\[^/]')


@dataclass(frozen=True)
class Asked:
    """What somebody asks for: an action by name, its parameters, and the file that came beside them."""

    action: object
    parameters: object
    file: File | None = None


async def asked(request: Request, files: RunFiles) -> Asked:
    """Return what a request asks for. Raises `InvalidRequest`, `TooLarge`.

    A body is JSON, whatever it says that it is, unless it is multipart or the query names the action.
    """
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind == b"multipart/form-data":
        return await _from_parts(_Multipart(options.get(b"boundary", b""), chunks_of(request)), files)
    if "action" not in request.query_params:
        body = parsed_object(await short_json(chunks_of(request), files), "The body")
        return Asked(body.get("action"), body.get("parameters") or {})
    query = request.query_params
    file = await files.save(_file_name(request), kind.decode("latin-1") or _UNKNOWN, chunks_of(request))
    return Asked(query.get("action"), parsed_object(query.get("parameters", ""), "`parameters`"), file)


@dataclass(frozen=True)
class Received:
    """What a request brings: a value, and the file beside it or in its place. A form's values are all texts."""

    body: Any  # Any: JSON
    file: File | None = None
    is_form: bool = False


async def received(request: Request, files: RunFiles) -> Received:
    """Return what a request brings, in whatever form: JSON, a form, or a file alone if it is of any other kind.

    Raises `InvalidRequest`, `TooLarge`.
    """
    header, options = parse_options_header(request.headers.get("content-type"))
    kind = header.decode("latin-1")
    if kind == "multipart/form-data":
        return await _form(_Multipart(options.get(b"boundary", b""), chunks_of(request)), files)
    if kind == "application/x-www-form-urlencoded":
        text = (await _text(chunks_of(request))).decode("utf-8", "replace")
        return Received(_without_nul(dict(parse_qsl(text, keep_blank_values=True))), is_form=True)
    if not kind or kind == "application/json" or kind.endswith("+json"):
        return Received(parsed(await short_json(chunks_of(request), files), "The body"))
    file = await files.save(_file_name(request), kind, chunks_of(request))
    return Received({}, file if file.size else None)


async def chunks_of(request: Request) -> AsyncIterator[bytes]:
    """Yield a body as it arrives, or raise `InvalidRequest` if the caller hangs up before its end."""
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        raise InvalidRequest("The caller hung up before the body ended.") from None


async def short_json(chunks: AsyncIterator[bytes], files: RunFiles) -> bytes:
    """Return a body of JSON, with the long `data` of files set aside. Raises `TooLarge` if it is long all the same."""
    return await _Json(chunks, files).read()


_UNKNOWN = "application/octet-stream"


class _Json:
    """Reads JSON far enough to see the `data` of files.

    Within a text a quote is escaped, so the bytes `"data":"` are a name and the begin of its value, wherever they are.
    """

    def __init__(self, chunks: AsyncIterator[bytes], files: RunFiles) -> None:
        self._chunks = chunks
        self._files = files
        self._ahead = bytearray()
        self._kept = bytearray()

    async def read(self) -> bytes:
        """Return it, with what stands for each long value."""
        while True:
            if found := _DATA.search(self._ahead):
                self._keep(found.end())
                if await self._is_long():
                    self._kept += (await self._files.set_aside(self._value())).encode()
                continue
            self._keep(len(self._ahead) - _LONGEST_MATCH)
            if not await self._more():
                self._keep(len(self._ahead))
                return bytes(self._kept)

    async def _is_long(self) -> bool:
        """Return whether a long text without escapes is ahead: hexadecimal and base64 need none but PHP's `\\/`."""
        while not (ends := _ENDS.search(self._ahead)) and len(self._ahead) < _LONG_DATA:
            if not await self._more():
                return False
        return ends is None or ends.start() >= _LONG_DATA

    async def _value(self) -> AsyncGenerator[bytes, None]:
        while True:
            end = self._ahead.find(b'"')
            length = len(self._ahead) if end < 0 else end
            yield bytes(self._ahead[:length]).replace(b"\\", b"")
            del self._ahead[:length]
            if end >= 0 or not await self._more():
                return

    def _keep(self, length: int) -> None:
        if length <= 0:
            return
        self._kept += self._ahead[:length]
        del self._ahead[:length]
        if len(self._kept) > LARGEST_FORM:
            raise TooLarge(f"The body has more than {LARGEST_FORM} bytes, apart from the `data` of files.")

    async def _more(self) -> bool:
        chunk = await anext(self._chunks, None)
        self._ahead += chunk or b""
        return chunk is not None


class _Multipart:
    """The parts of a body, one after the other; each must be read to its end before the next (RFC 7578)."""

    def __init__(self, boundary: bytes, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._events: deque[tuple[str, bytes]] = deque()
        with_data = ("header_field", "header_value", "part_data")
        without = ("header_end", "headers_finished", "part_end", "end")
        callbacks: Any = {f"on_{name}": partial(self._found, name) for name in with_data + without}
        if not boundary:
            raise InvalidRequest("The content type of a multipart body names its boundary.")
        self._parser = MultipartParser(boundary, callbacks)  # Any: its type knows each callback by name

    async def parts(self) -> AsyncIterator[tuple[Mapping[str, str], AsyncGenerator[bytes, None]]]:
        """Yield the headers and contents of each part."""
        headers: dict[str, str] = {}
        words = {"header_field": b"", "header_value": b""}  # which come in pieces
        while (event := await self._event())[0] != "end":
            kind, data = event
            if kind in words:
                words[kind] += data
            elif kind == "header_end":
                headers[words["header_field"].decode("latin-1").lower()] = words["header_value"].decode("latin-1")
                words = dict.fromkeys(words, b"")
            elif kind == "headers_finished":
                yield headers, self._contents()
                headers = {}

    async def _contents(self) -> AsyncGenerator[bytes, None]:
        while (event := await self._event())[0] != "part_end":
            yield event[1]

    async def _event(self) -> tuple[str, bytes]:
        while not self._events:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                raise InvalidRequest("The multipart body ends before its last boundary.")
            try:
                self._parser.write(chunk)
            except FormParserError:
                raise InvalidRequest("The multipart body is not well formed.") from None
        return self._events.popleft()

    def _found(self, kind: str, data: bytes = b"", start: int = 0, end: int = 0) -> None:
        self._events.append((kind, data[start:end]))


async def _from_parts(body: _Multipart, files: RunFiles) -> Asked:
    texts: dict[str, str] = {}
    file = None
    async for headers, contents in body.parts():
        _, options = parse_options_header(headers.get("content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if name == FILE_PART and file is None:
            filename = options.get(b"filename", b"file").decode("utf-8", "replace")
            file = await files.save(filename, headers.get("content-type", _UNKNOWN), contents)
        elif name in {"action", "parameters"} - texts.keys():
            texts[name] = (await _text(contents)).decode("utf-8", "replace")
        else:
            raise InvalidRequest(
                f"The parts are `action`, `parameters` and `{FILE_PART}`, each once: look at “{name[:50]}”."
            )
    return Asked(texts.get("action"), parsed_object(texts.get("parameters", ""), "`parameters`"), file)


async def _form(body: _Multipart, files: RunFiles) -> Received:
    """Return the parts by name: texts, and files; that which is called `paragon-file` is the request's own."""
    values: dict[str, Any] = {}  # Any: JSON
    file = None
    length = 0
    async for headers, contents in body.parts():
        _, options = parse_options_header(headers.get("content-disposition"))
        name = options.get(b"name", b"").decode("utf-8", "replace")
        if b"filename" in options or name == FILE_PART:
            filename = options.get(b"filename", b"file").decode("utf-8", "replace")
            saved = await files.save(filename, headers.get("content-type", _UNKNOWN), contents)
            if name == FILE_PART and file is None:
                file = saved
            else:
                values[name] = saved.model_dump(mode="json", by_alias=True)
        else:
            values[name] = (await _text(contents)).decode("utf-8", "replace")
        length += len(name) + (len(values[name]) if isinstance(values.get(name), str) else 0)
        if length > LARGEST_FORM or len(values) > _MOST_PARTS:
            raise TooLarge(f"A form has up to {_MOST_PARTS} parts, and {LARGEST_FORM} bytes that are no file's.")
    return Received(_without_nul(values), file, is_form=True)


def _without_nul(values: dict[str, Any]) -> dict[str, Any]:  # Any: JSON
    """Return a form's values as they are, or raise `InvalidRequest`: PostgreSQL takes a NUL in no text."""
    if any("\0" in text for pair in values.items() for text in pair if isinstance(text, str)):
        raise InvalidRequest("The form holds a NUL character.")
    return values


async def _text(contents: AsyncIterator[bytes]) -> bytes:
    text = bytearray()
    async for chunk in contents:
        text += chunk
        if len(text) > LARGEST_FORM:
            raise TooLarge(f"A part that is no file has more than {LARGEST_FORM} bytes.")
    return bytes(text)


def _file_name(request: Request) -> str:
    """Return the name that `Content-Disposition` gives the body (RFC 6266), or a plain one."""
    message = Message()
    message["Content-Disposition"] = request.headers.get("content-disposition", "")
    return message.get_filename() or "file"
