"""Seals and opens secrets: AES-256-GCM envelopes, and the ring of keys that wraps them.

Each secret is sealed with a data key of its own, and the data key is wrapped by a key-encryption key from the ring. The
identity of the row that holds the secret is bound into both, so that a sealed value that is moved to another row does
not open. Rotation re-wraps the data key and leaves the secret as it is.

    version (1) · key id length (1) · key id · nonce (12) · wrapped data key (48) · nonce (12) · sealed secret
"""

import base64
import binascii
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from landbridge.errors import Misconfigured, VaultFailed
from landbridge.settings import Settings

_VERSION = 1
_NONCE = 12
_KEY = 32
_WRAPPED = _KEY + 16
_KEY_ID = re.compile(r"^[A-Za-z0-9_.-]{1,64}$")


@dataclass(frozen=True)
class KeyRing:
    """Key-encryption keys by id. The first one seals; all of them open."""

    keys: Mapping[str, bytes]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the ring written as `id:base64` entries, separated by commas or new lines; `#` begins a comment."""
        lines = (line.split("#", 1)[0].strip() for line in text.replace(",", "\n").splitlines())
        keys = dict(_key(line) for line in lines if line)
        if not keys:
            raise Misconfigured("The key ring is empty: it needs at least one `id:base64` entry of 32 bytes.")
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


def _key(entry: str) -> tuple[str, bytes]:
    key_id, _, encoded = entry.partition(":")
    try:
        key = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        key = b""
    if not _KEY_ID.match(key_id) or len(key) != _KEY:
        raise Misconfigured(f"The key ring's entry “{key_id[:16]}” is not `id:base64` of 32 bytes.")
    return key_id, key


def _new_key() -> tuple[str, bytes]:
    return f"k{secrets.token_hex(4)}", secrets.token_bytes(_KEY)


class KeySource(Protocol):
    """Where the ring comes from; a key management service would be another one."""

    def read(self) -> KeyRing:
        """Return the ring as it is now."""
        ...

    def write(self, ring: KeyRing) -> None:
        """Replace the ring, or raise `Misconfigured` if it is kept elsewhere."""
        ...


class KeyFile:
    """A ring in a file that only its owner may read (0600), made on first use."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> KeyRing:
        """Return the ring in the file; a missing file is made, with one new key."""
        try:
            return KeyRing.parse(self.path.read_text("ascii"))
        except FileNotFoundError:
            return self._create()
        except (OSError, UnicodeDecodeError) as error:
            raise Misconfigured(f"The key file {self.path} cannot be read: {error}") from error

    def write(self, ring: KeyRing) -> None:
        """Replace the file in one step: a crash leaves the old ring or the new one."""
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        self._write_new(draft, ring)
        draft.replace(self.path)
        _sync_folder(self.path.parent)

    def _create(self) -> KeyRing:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        ring = KeyRing.generate()
        draft = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        self._write_new(draft, ring)
        try:
            os.link(draft, self.path)  # refuses to replace the file that another process made in the meantime
        except FileExistsError:
            return self.read()
        finally:
            draft.unlink()
        _sync_folder(self.path.parent)
        return ring

    @staticmethod
    def _write_new(path: Path, ring: KeyRing) -> None:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write("# Landbridge's key ring. Whoever has this and the database can read every token.\n")
            file.write("# Keep a copy apart from the backups of the data. The first key seals; all of them open.\n")
            file.write(ring.text())
            file.flush()
            os.fsync(file.fileno())


class KeySetting:
    """A ring in `LANDBRIDGE_VAULT_KEYS`, for several machines or a secret store that fills the environment."""

    def __init__(self, text: str) -> None:
        self._ring = KeyRing.parse(text)

    def read(self) -> KeyRing:
        """Return the ring that the process was started with."""
        return self._ring

    def write(self, ring: KeyRing) -> None:
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

    def reload(self) -> None:
        """Read the ring again, as after a rotation in another process."""
        self._ring = self.source.read()

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
        if key_id(sealed) == self._ring.primary:
            return None
        data_key, rest = self._unwrap(sealed, identity)
        return self._wrap(data_key, identity) + rest

    def _wrap(self, data_key: bytes, identity: str) -> bytes:
        primary = self._ring.primary
        nonce, name = secrets.token_bytes(_NONCE), primary.encode()
        wrapped = AESGCM(self._ring.keys[primary]).encrypt(nonce, data_key, identity.encode())
        return bytes([_VERSION, len(name)]) + name + nonce + wrapped

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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
