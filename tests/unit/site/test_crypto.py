"""Credentials at rest."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from brokers.exceptions import BrokerConfigError
from pooling.crypto import CredentialCipher, KeyFileError, create_key_file


def key_file(tmp_path: Path, *keys: str, mode: int = 0o600) -> Path:
    path = tmp_path / "credentials.key"
    path.write_text("\n".join(keys))
    path.chmod(mode)
    return path


def test_a_created_key_file_is_private_and_works(tmp_path: Path) -> None:
    path = tmp_path / "data" / "credentials.key"
    create_key_file(path)
    assert path.stat().st_mode & 0o777 == 0o600
    cipher = CredentialCipher.from_file(path)
    assert cipher.decrypt({"a": cipher.encrypt("secret")}) == {"a": "secret"}


def test_an_existing_key_file_is_never_overwritten(tmp_path: Path) -> None:
    path = key_file(tmp_path, "precious")
    with pytest.raises(FileExistsError):
        create_key_file(path)
    assert path.read_text() == "precious"


def test_a_new_first_key_encrypts_and_the_old_one_still_decrypts(tmp_path: Path) -> None:
    old, new = (Fernet.generate_key().decode() for _ in range(2))
    token = CredentialCipher(keys=[old]).encrypt("secret")
    both = CredentialCipher.from_file(key_file(tmp_path, new, old))
    assert both.decrypt({"a": token}) == {"a": "secret"}
    assert CredentialCipher(keys=[new]).decrypt({"a": both.encrypt("x")}) == {"a": "x"}
    with pytest.raises(BrokerConfigError, match="not in the key file"):
        CredentialCipher(keys=[new]).decrypt({"a": token})


def test_a_missing_key_file_names_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="createkeyfile"):
        CredentialCipher.from_file(tmp_path / "none")


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    path = key_file(tmp_path, Fernet.generate_key().decode(), mode=0o640)
    with pytest.raises(KeyFileError, match="chmod 600"):
        CredentialCipher.from_file(path)


@pytest.mark.parametrize("content", ["", "not a key", "é"])
def test_a_key_file_without_keys_is_refused_without_showing_it(
    tmp_path: Path, content: str
) -> None:
    with pytest.raises(KeyFileError) as refused:
        CredentialCipher.from_file(key_file(tmp_path, content))
    assert not content or content not in str(refused.value).replace(str(tmp_path), "")
