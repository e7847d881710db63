"""The key under which addresses are hashed: the operator's own, or one that lies in the data folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from audiences.consent.address_hash import KEY_BYTES, AddressHash
from decision.settings import Settings
from storage.errors import ConfigurationError

KEY_FILE = "address.key"


def open_address_hash(settings: Settings) -> AddressHash:
    """Return the hash of addresses under the setting `address_key`, or under the data folder's key.

    The file is made when it is first asked for; only its owner may read it. Processes that share no data
    folder need the setting.

    Raises:
        ConfigurationError: the file can't be read or made, or holds no key.
    """
    if settings.address_key is not None:
        return AddressHash(settings.address_key.get_secret_value().encode(), settings.phone_region or None)
    return AddressHash(_kept(settings.data / KEY_FILE), settings.phone_region or None)


def _kept(path: Path) -> bytes:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        key = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"the key in {path} can't be read: {error}; give back the file as it was, or set "
            "NEXTPLAY_ADDRESS_KEY"
        ) from error
    if len(key) != KEY_BYTES:
        raise ConfigurationError(f"{path} holds no key: give back the file as it was")
    return key


def _make(path: Path) -> None:
    """Make the file whole or not at all; of two processes that make it, one does."""
    made = path.with_name(f"{path.name}.{os.getpid()}")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(f"{secrets.token_hex(KEY_BYTES)}\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(made, path)
    except FileExistsError:
        pass
    finally:
        made.unlink()
