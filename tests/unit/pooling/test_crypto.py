"""Credentials at rest: what seals, what opens, and the files of both."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from nacl.public import PrivateKey, PublicKey

from brokers.exceptions import BrokerConfigError
from brokers.logs.redaction import REDACTOR, Redactor
from pooling.keys.crypto import SYMMETRIC, CredentialSealer, SymmetricSealer, key_of, load_sealer
from pooling.keys.files import (
    KeyFileError,
    add_key_pair,
    create_key_file,
    key_id,
    public_file,
    read_public,
    write_public,
)
from pooling.keys.opening import CredentialOpener

HERE, THERE = "zerodha", "zerodha at 127.0.0.1:9010"


def key_file(tmp_path: Path, *keys: str, mode: int = 0o600) -> Path:
    path = tmp_path / "credentials.key"
    path.write_text("\n".join(keys))
    path.chmod(mode)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "credentials.key"
    create_key_file(path)
    return path


def test_a_created_pair_works_and_only_one_half_is_private(pair: Path) -> None:
    assert pair.stat().st_mode & 0o777 == 0o600
    assert public_file(pair).stat().st_mode & 0o777 == 0o644
    sealer, opener = load_sealer(pair), CredentialOpener.from_file(pair)
    tokens = sealer.encrypt({"a": "secret"}, HERE)
    assert opener.decrypt(tokens, HERE) == {"a": "secret"}
    assert opener.key_ids == (sealer.key_id,) == (key_of(tokens["a"]),)
    assert opener.mismatch(pair, sealer.key_id) is None
    assert {each.name for each in pair.parent.iterdir()} == {"credentials.key", "credentials.pub"}


def test_neither_file_is_ever_overwritten(tmp_path: Path) -> None:
    path = key_file(tmp_path, "precious")
    with pytest.raises(FileExistsError):
        create_key_file(path)
    assert path.read_text() == "precious"
    path.rename(public_file(path))
    with pytest.raises(FileExistsError):
        create_key_file(path)
    assert public_file(path).read_text() == "precious"
    assert not path.exists()


def test_the_public_half_alone_seals_and_opens_nothing(pair: Path) -> None:
    private = pair.read_text()
    pair.unlink()
    token = load_sealer(pair).encrypt({"a": "secret"}, HERE)["a"]
    with pytest.raises(KeyFileError, match=r"restore the private half that credentials\.pub"):
        CredentialOpener.from_file(pair)
    with pytest.raises(ValueError, match="one key"):
        CredentialOpener(lines=[])
    own = public_file(pair).read_text().replace("public", "private")
    with pytest.raises(BrokerConfigError, match="not in the key file"):
        CredentialOpener(lines=[own.strip()]).decrypt({"a": token}, HERE)
    assert CredentialOpener(lines=private.split()).decrypt({"a": token}, HERE) == {"a": "secret"}


def test_the_key_file_is_left_unopened_where_its_public_half_is(pair: Path) -> None:
    pair.chmod(0o644)
    pair.write_bytes(b"\xff")
    assert load_sealer(pair).encrypt({"a": "secret"}, HERE)


@pytest.mark.parametrize("field", ["a", "b"])
@pytest.mark.parametrize("bound_to", [HERE, THERE])
def test_what_was_sealed_is_given_to_nothing_else(pair: Path, field: str, bound_to: str) -> None:
    token = load_sealer(pair).encrypt({"a": "secret"}, HERE)["a"]
    opener = CredentialOpener.from_file(pair)
    if (field, bound_to) == ("a", HERE):
        assert opener.decrypt({field: token}, bound_to) == {"a": "secret"}
        return
    with pytest.raises(BrokerConfigError, match="entered for something else") as refused:
        opener.decrypt({field: token}, bound_to)
    assert "secret" not in str(refused.value)


def test_what_was_changed_is_refused(pair: Path) -> None:
    token = load_sealer(pair).encrypt({"a": "secret"}, HERE)["a"]
    head, box = token.rsplit(".", 1)
    raw = bytearray(base64.urlsafe_b64decode(box))
    raw[-1] ^= 1
    opener = CredentialOpener.from_file(pair)
    changed = base64.urlsafe_b64encode(raw).decode()
    for text in (f"{head}.{changed}", f"{head}.", f"{head}.%", head, f"{head}.{box[:8]}"):
        with pytest.raises(BrokerConfigError, match="changed after it was sealed"):
            opener.decrypt({"a": text}, HERE)


def test_the_same_text_sealed_again_is_another_token(pair: Path) -> None:
    sealer = load_sealer(pair)
    assert sealer.encrypt({"a": "secret"}, HERE) != sealer.encrypt({"a": "secret"}, HERE)


def test_keys_of_before_go_on_and_a_pair_beside_them_takes_over(tmp_path: Path) -> None:
    first, second = (Fernet.generate_key().decode() for _ in range(2))
    path = key_file(tmp_path, second, first)
    old = SymmetricSealer([first]).encrypt({"a": "old"}, HERE)
    sealer = load_sealer(path)
    assert sealer.key_id == SYMMETRIC
    tokens = {**sealer.encrypt({"b": "new"}, HERE), **old}
    opener = CredentialOpener.from_file(path)
    assert opener.decrypt(tokens, HERE) == {"a": "old", "b": "new"}
    assert (opener.newest, opener.mismatch(path, SYMMETRIC)) == (None, None)
    groups = opener.group_key()

    write_public(path, add_key_pair(path))
    sealer, opener = load_sealer(path), CredentialOpener.from_file(path)
    tokens |= sealer.encrypt({"b": "newer"}, HERE)
    assert opener.decrypt(tokens, HERE) == {"a": "old", "b": "newer"}
    assert (key_of(tokens["a"]), key_of(tokens["b"])) == (SYMMETRIC, sealer.key_id)
    assert opener.knows(tokens["a"])
    assert opener.group_key() == groups
    with pytest.raises(BrokerConfigError, match="not in the key file"):
        CredentialOpener(lines=[second]).decrypt(old, HERE)


def test_a_second_pair_takes_over_and_the_first_still_opens(pair: Path) -> None:
    first = load_sealer(pair).encrypt({"a": "one"}, HERE)
    write_public(pair, add_key_pair(pair))
    assert pair.stat().st_mode & 0o777 == 0o600
    assert public_file(pair).stat().st_mode & 0o777 == 0o644
    sealer, opener = load_sealer(pair), CredentialOpener.from_file(pair)
    assert opener.key_ids == (key_of(first["a"]), sealer.key_id)
    assert opener.newest is not None
    assert key_id(opener.newest) == sealer.key_id
    tokens = {**first, **sealer.encrypt({"b": "two"}, HERE)}
    assert opener.decrypt(tokens, HERE) == {"a": "one", "b": "two"}


def test_a_foreign_public_half_is_told(pair: Path) -> None:
    foreign = CredentialSealer(PrivateKey.generate().public_key)
    opener = CredentialOpener.from_file(pair)
    words = opener.mismatch(pair, foreign.key_id)
    assert words is not None
    assert "belongs to no key" in words
    assert "createkeyfile" in words
    token = foreign.encrypt({"a": "secret"}, HERE)["a"]
    assert not opener.knows(token)
    with pytest.raises(BrokerConfigError, match=f"sealed for key {foreign.key_id}, which is not"):
        opener.decrypt({"a": token}, HERE)


def test_missing_files_name_what_mends_them(tmp_path: Path, pair: Path) -> None:
    none = tmp_path / "none.key"
    with pytest.raises(KeyFileError, match="createkeyfile"):
        CredentialOpener.from_file(none)
    with pytest.raises(KeyFileError, match=r"createkeyfile.*copy none\.pub from there"):
        load_sealer(none)
    public_file(pair).unlink()
    with pytest.raises(KeyFileError, match=r"public half \S+ is missing: run .*createkeyfile"):
        load_sealer(pair)


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path, Fernet.generate_key().decode(), mode=0o640)
    for load in (CredentialOpener.from_file, load_sealer):
        with pytest.raises(KeyFileError, match="chmod 600"):
            load(path)


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_public_half_that_others_may_exchange_is_refused(pair: Path, mode: int) -> None:
    public_file(pair).chmod(mode)
    with pytest.raises(KeyFileError, match="chmod 644"):
        load_sealer(pair)


@pytest.mark.parametrize("content", ["", "not a key", "é", "sealed-box-private:AAAA"])
def test_a_key_file_without_keys_is_refused_without_showing_it(
    tmp_path: Path, content: str
) -> None:
    for load in (CredentialOpener.from_file, load_sealer):
        with pytest.raises(KeyFileError) as refused:
            load(key_file(tmp_path, content))
        assert not content or content not in str(refused.value).replace(str(tmp_path), "")


@pytest.mark.parametrize("content", ["", "é", "sealed-box-public:AAAA", "sealed-box-public:%%"])
def test_a_damaged_public_half_is_refused(pair: Path, content: str) -> None:
    public_file(pair).write_text(content)
    with pytest.raises(KeyFileError, match=r"credentials\.pub"):
        load_sealer(pair)


def test_a_private_half_is_never_taken_for_a_public_one(pair: Path) -> None:
    public_file(pair).write_text(pair.read_text())
    with pytest.raises(KeyFileError) as refused:
        read_public(pair)
    assert pair.read_text().strip() not in str(refused.value)


def test_no_log_shows_a_token_or_a_private_half(pair: Path) -> None:
    token = load_sealer(pair).encrypt({"a": "planted-secret-of-a-broker"}, HERE)["a"]
    assert REDACTOR.redact("a planted-secret-of-a-broker b") == "a [redacted] b"
    half = pair.read_text().strip()
    redactor = Redactor()  # which has learnt no value
    name = key_of(token)
    assert redactor.redact(f"a {token} b") == f"a sealed1.{name}.[redacted] b"
    assert redactor.redact(f"a {half} b") == "a sealed-box-private:[redacted] b"


def test_names_of_keys_give_nothing_away() -> None:
    name = key_id(PublicKey(bytes(range(32))))
    assert len(name) == 16
    assert bytes(range(32)).hex()[:16] != name
