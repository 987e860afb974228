"""Seals and opens secrets: AES-256-GCM envelopes, and the ring of keys that wraps them.

Each secret is sealed with a data key of its own, and the data key is wrapped by a key-encryption key from the ring. The
identity of the row that holds the secret is bound into both, so that a sealed value that is moved to another row does
not open. Rotation re-wraps the data key and leaves the secret as it is.

    version (1) · key id length (1) · key id · nonce (12) · wrapped data key (48) · nonce (12) · sealed secret
"""

import base64
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, Self

import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from landbridge.disk import locked, written_whole
from landbridge.errors import Misconfigured, VaultFailed
from landbridge.settings import Settings

log = structlog.get_logger(__name__)

_VERSION = 1
_NONCE = 12
_KEY = 32
_WRAPPED = _KEY + 16
_KEY_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")


@dataclass(frozen=True)
class KeyRing:
    """Key-encryption keys by id. The first one seals; all of them open."""

    keys: Mapping[str, bytes] = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the ring written as `id:base64` entries, separated by commas or new lines; `#` begins a comment."""
        lines = (line.split("#", 1)[0].strip() for line in text.replace(",", "\n").splitlines())
        entries = [_key(number, line) for number, line in enumerate(filter(None, lines), start=1)]
        if not entries:
            raise Misconfigured("The key ring is empty: it needs at least one `id:base64` entry of 32 bytes.")
        keys = dict(entries)
        if len(keys) < len(entries):
            raise Misconfigured("The key ring names a key twice; every key needs an id of its own.")
        return cls(keys)

    @classmethod
    def generate(cls) -> Self:
        """Return a ring of one new key."""
        return cls(dict([_new_key()]))

    @property
    def primary(self) -> str:
        """The id of the key that seals."""
        return next(iter(self.keys))

    def with_new_primary(self) -> Self:
        """Return a ring in which a new key seals and the present ones still open."""
        return type(self)(dict([_new_key(), *self.keys.items()]))

    def text(self) -> str:
        """Return the ring as `parse` reads it, one key a line."""
        return "".join(f"{key_id}:{base64.b64encode(key).decode()}\n" for key_id, key in self.keys.items())


def _key(number: int, entry: str) -> tuple[str, bytes]:
    key_id, _, encoded = entry.partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except ValueError:
        key = b""
    if not _KEY_ID.fullmatch(key_id) or len(key) != _KEY:  # not quoted: it may be a key that lacks its id
        raise Misconfigured(f"Entry {number} of the key ring is not `id:base64` of 32 bytes.")
    return key_id, key


def _new_key() -> tuple[str, bytes]:
    return f"k{secrets.token_hex(4)}", secrets.token_bytes(_KEY)


class KeySource(Protocol):
    """Where the ring comes from; a key management service would be another one."""

    def read(self) -> KeyRing:
        """Return the ring as it is now."""
        ...

    def add_key(self) -> KeyRing:
        """Return the ring with a new key first, kept for good; or raise `Misconfigured` if it is kept elsewhere."""
        ...


class KeyFile:
    """A ring in a file that only its owner may read (0600), made on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._was_there = False

    def read(self) -> KeyRing:
        """Return the ring in the file; on first use a missing file is made, with one new key.

        Raises `Misconfigured` if the file cannot be read, or is gone: a process that already seals with a ring must
        not go on with another one that opens nothing.
        """
        try:
            ring = KeyRing.parse(self.path.read_text("ascii"))
        except FileNotFoundError as error:
            if self._was_there:
                raise Misconfigured(f"The key file {self.path} is gone; put it back.") from error
            ring = self._create()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"The key file {self.path} cannot be read: {error}") from error
        self._was_there = True
        return ring

    def add_key(self) -> KeyRing:
        """Put a new key first. The lock keeps two rotations at once from losing each other's key, and its data."""
        with locked(self.path.parent):
            ring = self.read().with_new_primary()
            with written_whole(self.path) as file:
                file.write(_as_file(ring))
        return ring

    def _create(self) -> KeyRing:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        ring = KeyRing.generate()
        try:
            with written_whole(self.path, replace=False) as file:
                file.write(_as_file(ring))
        except FileExistsError:  # another process made it in the meantime
            return self.read()
        log.warning("a new key ring seals every token; keep a copy apart from the data's backups", file=str(self.path))
        return ring


def _as_file(ring: KeyRing) -> bytes:
    return (
        "# Landbridge's key ring. Whoever has this and the database can read every token.\n"
        "# Keep a copy apart from the backups of the data. The first key seals; all of them open.\n" + ring.text()
    ).encode("ascii")


class KeySetting:
    """A ring in `LANDBRIDGE_VAULT_KEYS`, for several machines or a secret store that fills the environment."""

    def __init__(self, text: str) -> None:
        self._ring = KeyRing.parse(text)

    def read(self) -> KeyRing:
        """Return the ring that the process was started with."""
        return self._ring

    def add_key(self) -> KeyRing:
        """Refuse: the environment is not ours to change."""
        raise Misconfigured(
            "The key ring comes from LANDBRIDGE_VAULT_KEYS. Put a new key first in it, restart every process, then run "
            "`landbridge keys rotate --no-new-key` to re-wrap what the old keys wrapped."
        )


class Vault:
    """Seals and opens secrets with the ring of a `KeySource`."""

    def __init__(self, source: KeySource) -> None:
        self.source = source
        self._ring = source.read()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Return the vault that the settings describe."""
        if settings.vault_keys is not None:
            return cls(KeySetting(settings.vault_keys.get_secret_value()))
        return cls(KeyFile(settings.key_file))

    @property
    def ring(self) -> KeyRing:
        """The ring in use."""
        return self._ring

    @property
    def mark(self) -> bytes:
        """The bytes that every value begins with whose data key the ring's primary key wraps, and no other value."""
        name = self._ring.primary.encode()
        return bytes([_VERSION, len(name)]) + name

    def reload(self) -> None:
        """Read the ring again, as after a rotation in another process."""
        self._ring = self.source.read()

    def add_key(self) -> None:
        """Seal with a new key from now on; what the present ones sealed still opens."""
        self._ring = self.source.add_key()

    def seal(self, secret: bytes, identity: str) -> bytes:
        """Return `secret` sealed; it opens only with the same `identity` (`table/project/row`)."""
        data_key, nonce = secrets.token_bytes(_KEY), secrets.token_bytes(_NONCE)
        sealed = AESGCM(data_key).encrypt(nonce, secret, identity.encode())
        return self._wrap(data_key, identity) + nonce + sealed

    def open(self, sealed: bytes, identity: str) -> bytes:
        """Return the secret in `sealed`, or raise `VaultFailed`: wrong key, wrong row, or altered."""
        data_key, rest = self._unwrap(sealed, identity)
        try:
            return AESGCM(data_key).decrypt(rest[:_NONCE], rest[_NONCE:], identity.encode())
        except (InvalidTag, ValueError):
            raise VaultFailed("A sealed value does not open: it was altered, or moved from another row.") from None

    def rewrap(self, sealed: bytes, identity: str) -> bytes | None:
        """Return `sealed` with its data key wrapped by the ring's primary key, or None if it is already."""
        if sealed.startswith(self.mark):
            return None
        data_key, rest = self._unwrap(sealed, identity)
        return self._wrap(data_key, identity) + rest

    def _wrap(self, data_key: bytes, identity: str) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        wrapped = AESGCM(self._ring.keys[self._ring.primary]).encrypt(nonce, data_key, identity.encode())
        return self.mark + nonce + wrapped

    def _unwrap(self, sealed: bytes, identity: str) -> tuple[bytes, bytes]:
        wrapper = key_id(sealed)
        start = 2 + len(wrapper)
        nonce, wrapped = sealed[start : start + _NONCE], sealed[start + _NONCE : start + _NONCE + _WRAPPED]
        try:
            data_key = AESGCM(self._kek(wrapper)).decrypt(nonce, wrapped, identity.encode())
        except (InvalidTag, ValueError):
            raise VaultFailed("A sealed value does not open: it was altered, or moved from another row.") from None
        return data_key, sealed[start + _NONCE + _WRAPPED :]

    def _kek(self, wrapper: str) -> bytes:
        if wrapper not in self._ring.keys:
            self.reload()  # another process may have rotated
        if wrapper not in self._ring.keys:
            raise VaultFailed(f"The key ring has no key “{wrapper}”, which sealed this value.")
        return self._ring.keys[wrapper]


def key_id(sealed: bytes) -> str:
    """Return the id of the key that wraps `sealed`, or raise `VaultFailed` if it is not a sealed value."""
    if len(sealed) < 2 or sealed[0] != _VERSION:
        raise VaultFailed("A sealed value is not in a form that this version reads.")
    return sealed[2 : 2 + sealed[1]].decode("ascii", "replace")
