"""Whether a webhook was sent by whom it says: Standard Webhooks, https://www.standardwebhooks.com."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence

from standardwebhooks import Webhook

from audiences.errors import WebhookRefused

# What is shorter can be found by trying.
MIN_SECRET_BYTES = 16


class Signatures:
    """Verifies webhooks by the secrets of their sources; several count, so that one can be replaced."""

    def __init__(self, secrets: Mapping[str, Sequence[str]]) -> None:
        """Take the secrets of each source, as the CRM shows them (`whsec_…`)."""
        self._webhooks = {source: [Webhook(one) for one in all_] for source, all_ in secrets.items()}

    def verify(self, source: str, headers: Mapping[str, str], body: bytes) -> str:
        """Return the id of a webhook that is signed, and was signed within five minutes of real time.

        Raises:
            WebhookRefused: it is not. What is wrong with it is not said, for that would help forgers.
        """
        try:
            text = body.decode()
        except UnicodeDecodeError:
            raise _refusal() from None
        for webhook in self._webhooks.get(source, ()):
            try:
                webhook.verify(text, dict(headers), json_parse=False)
            except Exception:  # noqa: BLE001, S112 - the library raises what it stumbles over in a header
                continue
            return headers["webhook-id"]
        raise _refusal()


def is_secret(text: str) -> bool:
    """Say whether a text is a secret: `whsec_` and base64 of at least `MIN_SECRET_BYTES`."""
    encoded = text.removeprefix("whsec_").rstrip("=")
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(decoded) >= MIN_SECRET_BYTES and text.startswith("whsec_")


def _refusal() -> WebhookRefused:
    return WebhookRefused("the webhook is not signed as it must be, or was signed too long ago")
