"""Addresses as the suppression list keeps them: hashed under a key, so that it is no list of addresses."""

from __future__ import annotations

import hashlib
import hmac

from audiences.addresses import AddressKind, normal

KEY_BYTES = 32


class AddressHash:
    """Hashes addresses with HMAC-SHA-256; without the key nobody finds an address by trying all of them."""

    def __init__(self, key: bytes, region: str | None = None) -> None:
        """Hash under a key.

        Args:
            region: where phone numbers without a country code are from (see `addresses.normal_phone`).
        """
        self._key = key
        self._region = region

    def of(self, kind: AddressKind, address: str) -> str:
        """Return the hash of an address, however it is written: 64 hexadecimal digits.

        Raises:
            AddressUnfit: it is no address of that kind.
        """
        return self.of_normal(kind, normal(kind, address, self._region))

    def of_normal(self, kind: AddressKind, address: str) -> str:
        """Return the hash of an address that is in its normal form."""
        text = f"{kind.value}:{address}"
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()

    def derive(self, purpose: str) -> bytes:
        """Return another key for another purpose, from which this one can't be told."""
        return hmac.new(self._key, f"derive:{purpose}".encode(), hashlib.sha256).digest()

    @property
    def fingerprint(self) -> str:
        """What tells whether another process has the same key."""
        return self.derive("fingerprint").hex()[:32]
