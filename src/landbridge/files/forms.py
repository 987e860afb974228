"""What travels in JSON in place of contents."""

import base64
import binascii
from collections.abc import AsyncIterable, AsyncIterator
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from landbridge.errors import InvalidRequest

ANYTHING = "application/octet-stream"
"""The type of contents of which nothing is known."""


def can_be_sent(mime_type: str) -> bool:
    """Return whether a type can stand in a header."""
    return mime_type.isascii() and mime_type.isprintable()


def must_be_sent(mime_type: str) -> None:
    """Raise `InvalidRequest` for a type that cannot."""
    if not can_be_sent(mime_type):
        raise InvalidRequest("This is not a file: look at mimeType.")


class File(BaseModel):
    """A file's contents, by reference."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    id: Annotated[str, Field(description="Opens the contents, in the same run only.")]
    name: Annotated[str, Field(description="The file's name, with its extension.")]
    mime_type: Annotated[str, Field(description="What kind of contents it has, such as `text/plain`.")]
    size: Annotated[int, Field(ge=0, description="The length in bytes.")]
    sha256: Annotated[str, Field(description="The SHA-256 of the contents, in lower-case hex.")]


class InlineFile(BaseModel):
    """A small file inside JSON, in the form that Paragon's API has: `data` is hexadecimal."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True)

    data: str
    name: str
    mime_type: str = ANYTHING
    encoding: Literal["hex", "base64"] = "hex"

    async def contents(self, text: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
        """Yield the bytes that the text of `data` means, or raise `InvalidRequest`."""
        waiting, unit = b"", 2 if self.encoding == "hex" else 4
        async for chunk in text:
            waiting += chunk
            whole = len(waiting) // unit * unit
            yield self._decoded(waiting[:whole])
            waiting = waiting[whole:]
        yield self._decoded(waiting)

    def _decoded(self, text: bytes) -> bytes:
        try:
            if self.encoding == "base64":
                return base64.b64decode(text, validate=True)
            return binascii.unhexlify(text)
        except ValueError:
            raise InvalidRequest(f"The `data` of the file “{self.name[:100]}” is not {self.encoding}.") from None
