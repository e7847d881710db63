"""The secrets that CRMs sign their webhooks with: from the settings, or a file that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from audiences.crm.signatures import is_secret
from decision.settings import Settings
from storage.errors import ConfigurationError


def webhook_secrets(settings: Settings) -> Mapping[str, Sequence[str]]:
    """Return the secrets of each source. No message of an error has a secret in it.

    Raises:
        ConfigurationError: the file can't be read, or something is no secret.
    """
    secrets = {
        source: [one.get_secret_value() for one in all_] for source, all_ in settings.webhook_secrets.items()
    }
    path = settings.webhook_secrets_file
    if path is not None:
        try:
            listed = msgspec.json.decode(path.read_bytes(), type=dict[str, list[str]])
        except OSError as error:
            raise ConfigurationError(
                f"the webhook secrets in {path} can't be read: {error.strerror}"
            ) from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ConfigurationError(f'{path} must be JSON like {{"acme": ["whsec_…"]}}') from None
        for source, all_ in listed.items():
            secrets.setdefault(source, []).extend(all_)
    for source, all_ in secrets.items():
        for place, one in enumerate(all_, start=1):
            if not is_secret(one):
                raise ConfigurationError(
                    f"the {place}. webhook secret of {source!r} is none: it is whsec_ and base64 of 16 bytes "
                    "at least"
                )
    return secrets
