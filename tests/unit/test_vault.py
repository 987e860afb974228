"""What the vault seals opens with the same ring and the same row, and with nothing else."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landbridge.errors import Misconfigured, VaultFailed
from landbridge.settings import Settings
from landbridge.vault import KeyFile, KeyRing, KeySetting, Vault, key_id

ROW = "connections/project/row"
RING = KeyRing.generate()
VAULT = Vault(KeySetting(RING.text()))
SEALED = VAULT.seal(b"the secret", ROW)


def _vault(ring: KeyRing) -> Vault:
    return Vault(KeySetting(ring.text()))


@given(secret=st.binary(max_size=5000), identity=st.text(max_size=200))
def test_what_is_sealed_opens_again_and_shows_nothing_of_itself(secret: bytes, identity: str) -> None:
    sealed = VAULT.seal(secret, identity)
    assert VAULT.open(sealed, identity) == secret
    assert len(secret) < 4 or secret not in sealed


@given(identity=st.text(max_size=60).filter(lambda text: text != ROW))
def test_what_is_moved_to_another_row_does_not_open_nor_can_it_be_wrapped_anew(identity: str) -> None:
    with pytest.raises(VaultFailed, match="altered, or moved"):
        VAULT.open(SEALED, identity)
    with pytest.raises(VaultFailed, match="altered, or moved"):
        _vault(RING.with_new_primary()).rewrap(SEALED, identity)


@pytest.mark.parametrize("place", range(len(SEALED)))
@given(flipped=st.integers(1, 255))
def test_a_byte_altered_anywhere_is_noticed(place: int, flipped: int) -> None:
    altered = bytearray(SEALED)
    altered[place] ^= flipped
    with pytest.raises(VaultFailed):
        VAULT.open(bytes(altered), ROW)


@pytest.mark.parametrize("length", range(len(SEALED)))
def test_what_was_cut_off_does_not_open(length: int) -> None:
    with pytest.raises(VaultFailed):
        VAULT.open(SEALED[:length], ROW)


@given(noise=st.binary(max_size=200))
def test_noise_does_not_open(noise: bytes) -> None:
    with pytest.raises(VaultFailed):
        VAULT.open(noise, ROW)


def test_another_ring_does_not_open_it_and_the_error_names_the_key_that_would() -> None:
    with pytest.raises(VaultFailed, match=RING.primary):
        _vault(KeyRing.generate()).open(SEALED, ROW)


def test_another_key_with_the_same_id_does_not_open_it() -> None:
    with pytest.raises(VaultFailed, match="altered, or moved"):
        _vault(KeyRing({RING.primary: bytes(32)})).open(SEALED, ROW)


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    assert len({VAULT.seal(b"the secret", ROW) for _ in range(20)}) == 20


def test_a_new_primary_key_seals_and_the_old_one_still_opens() -> None:
    vault = _vault(RING.with_new_primary())
    assert vault.open(SEALED, ROW) == b"the secret"
    assert key_id(vault.seal(b"another", ROW)) == vault.ring.primary != RING.primary


def test_wrapping_anew_changes_the_key_and_leaves_the_secret_as_it_is() -> None:
    vault = _vault(RING.with_new_primary())
    anew = vault.rewrap(SEALED, ROW)
    assert anew
    assert key_id(anew) == vault.ring.primary
    assert vault.open(anew, ROW) == b"the secret"
    assert vault.rewrap(anew, ROW) is None
    assert anew.startswith(vault.mark)
    assert not SEALED.startswith(vault.mark)


def test_the_mark_of_a_key_is_not_the_beginning_of_another_keys_values() -> None:
    short, long = _vault(KeyRing({"k1": bytes(32)})), _vault(KeyRing({"k12": bytes(32)}))
    assert not long.seal(b"", ROW).startswith(short.mark)


@given(st.dictionaries(st.from_regex(r"[A-Za-z0-9_.-]{1,64}", fullmatch=True), st.binary(min_size=32, max_size=32)))
def test_a_ring_is_read_as_it_was_written_its_first_key_first(keys: dict[str, bytes]) -> None:
    if keys:
        ring = KeyRing(keys)
        assert KeyRing.parse(ring.text()) == ring
        assert KeyRing.parse(ring.text()).primary == next(iter(keys))
        assert KeyRing.parse("# a comment\n\n" + ring.text().replace("\n", ", ")) == ring


@pytest.mark.parametrize(
    "text",
    ["", "# only", "k1", "k1:", f":{'A' * 43}=", "k1:AAAA", f"k 1:{'A' * 43}=", f"{'A' * 43}=", "k1:ü", "AAAA:BBBB"],
)
def test_a_ring_that_cannot_be_read_is_refused_without_showing_a_key(text: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        KeyRing.parse(text)
    assert "AAAA" not in caught.value.message


def test_one_id_with_two_keys_is_refused_since_one_of_them_would_be_lost() -> None:
    with pytest.raises(Misconfigured, match="twice"):
        KeyRing.parse(RING.text() + f"{RING.primary}:{'A' * 43}=")


def test_the_key_file_is_made_on_first_use_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "vault.keys"
    previous = os.umask(0)
    try:
        ring = KeyFile(path).read()
    finally:
        os.umask(previous)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [file.name for file in path.parent.iterdir()] == ["vault.keys"]
    assert KeyFile(path).read() == ring


def test_a_new_key_goes_first_in_the_file_and_the_file_stays_its_owners(tmp_path: Path) -> None:
    source = KeyFile(tmp_path / "vault.keys")
    old = source.read()
    new = source.add_key()
    assert list(new.keys)[1:] == list(old.keys)
    assert source.read() == new
    assert stat.S_IMODE(source.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"k1:AAAA", b"\xff\xfe", None])
def test_a_key_file_that_cannot_be_read_is_named_and_never_replaced(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "vault.keys"
    path.mkdir() if content is None else path.write_bytes(content)
    with pytest.raises(Misconfigured):
        Vault(KeyFile(path))
    assert content is None or path.read_bytes() == content


def test_a_running_process_whose_key_file_is_gone_makes_no_new_one(tmp_path: Path) -> None:
    vault = Vault(KeyFile(tmp_path / "vault.keys"))
    (tmp_path / "vault.keys").unlink()
    with pytest.raises(Misconfigured, match="is gone"):
        vault.reload()
    assert not (tmp_path / "vault.keys").exists()
    assert vault.open(vault.seal(b"still works", ROW), ROW) == b"still works"


PROGRAM = """
import sys
from pathlib import Path
from landbridge.settings import Settings
from landbridge.telemetry import configure_logging
from landbridge.vault import KeyFile
configure_logging(Settings())
source = KeyFile(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
print(source.read().primary if sys.argv[2] == "read" else source.add_key().primary)
"""


def _at_once(path: Path, what: str, processes: int = 4) -> list[str]:
    """Return the primary keys that several processes end with, which all begin when all of them are ready."""
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, path, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    for process in started:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
    for process in started:
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
    return [process.communicate()[0].strip() for process in started]


def test_processes_that_make_the_key_file_at_once_agree_on_one_ring(tmp_path: Path) -> None:
    primaries = _at_once(tmp_path / "vault.keys", "read")
    assert len(set(primaries)) == 1
    assert KeyFile(tmp_path / "vault.keys").read().primary == primaries[0]


def test_processes_that_add_keys_at_once_lose_none(tmp_path: Path) -> None:
    first = KeyFile(tmp_path / "vault.keys").read()
    added = _at_once(tmp_path / "vault.keys", "add")
    assert set(KeyFile(tmp_path / "vault.keys").read().keys) == {first.primary, *added}
    assert len(set(added)) == 4


def test_a_rotation_elsewhere_is_noticed_when_its_key_is_met(tmp_path: Path) -> None:
    running, rotating = Vault(KeyFile(tmp_path / "vault.keys")), Vault(KeyFile(tmp_path / "vault.keys"))
    rotating.add_key()
    sealed = rotating.seal(b"the secret", ROW)
    assert running.ring != rotating.ring
    assert running.open(sealed, ROW) == b"the secret"
    assert running.ring == rotating.ring


def test_the_ring_comes_from_the_setting_or_else_from_the_key_file(tmp_path: Path) -> None:
    from_setting = Vault.from_settings(Settings(data_dir=tmp_path, vault_keys=RING.text()))
    assert from_setting.ring == RING
    assert not (tmp_path / "vault.keys").exists()
    from_file = Vault.from_settings(Settings(data_dir=tmp_path))
    assert KeyFile(tmp_path / "vault.keys").read() == from_file.ring


def test_neither_a_ring_nor_a_vault_shows_its_keys() -> None:
    for thing in (RING, VAULT, VAULT.source):
        for key in RING.keys.values():
            assert repr(key)[2:-1] not in repr(thing)
