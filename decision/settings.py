"""What can be set: on the command line, as `NEXTPLAY_…` in the environment, or in `<data>/settings.env`."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StrictInt, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from audiences.crm.signatures import is_secret
from audiences.identity.models import KindRule
from audiences.library_files import said
from decision.auth.models import parse
from decision.logs import Level
from delivery.coupons.guess_limits import GuessLimits
from feature_repo.errors import FeatureRepositoryError
from feature_repo.online_url import connection_string
from playbooks.suggesting import closest
from storage.errors import ConfigurationError

SETTINGS_FILE = "settings.env"

_PREFIX = "NEXTPLAY_"
# What else the environment may say: to the commands alone, to a service that is to kill itself, to tests.
_OF_COMMANDS = frozenset({"key", "roles", "drain", "notice", "lease", "fault_point"})
_OF_TESTS = "test_"
# What Kubernetes says in every pod of the ports of a service named nextplay; NEXTPLAY_PORT is among it.
_OF_KUBERNETES = re.compile(r"(service_(host|port(_\w+)?)|port_\d+_(tcp|udp|sctp)(_\w+)?)")


class Settings(BaseSettings):
    """Settings of one service. Everything it keeps lies in `data` unless a setting says otherwise."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True)

    data: Path = Path("var/nextplay")
    host: str = "127.0.0.1"
    port: int = Field(default=8321, ge=0, le=65535)
    database_url: str = ""
    # A Valkey or Redis server that counts uses of caps (redis://…); empty: the database does.
    counters_url: str = ""
    # A Valkey or Redis server for features of now (redis://…); empty: a SQLite file in the data folder.
    online_url: str = ""
    # Address of a Ray cluster that answers the rules of audiences and learns shards; `local`: started here;
    # empty: none.
    ray_address: str = ""
    # In how many shards many rewards are learned at a time, in processes or as tasks of the Ray cluster.
    learner_shards: int = Field(default=1, ge=1, le=64)
    # Days for which facts are kept, by kind; those of other kinds stay for ever.
    retention: dict[str, StrictInt | None] = {}
    library: Path | None = None
    # Seed of every draw and of the salted hashes; changing it changes who gets what.
    seed: str = "nextplay"
    # The share of users who get no promotional playbook, fixed by a salted hash.
    holdout: float = Field(default=0.0, ge=0, le=0.5)
    # When set, the service lives on this clock instead of the machine's, and is moved over HTTP.
    clock: datetime | None = None
    # What the log tells at least; `debug` adds a line for every request.
    log_level: Level = "info"
    # Where `nextplay work` shows its metrics, to this machine only; 0: nowhere.
    metrics_port: int = Field(default=0, ge=0, le=65535)
    # Whether jobs run by themselves, at the intervals of `decision.jobs`.
    schedule: bool = True
    # A key that opens everything, chosen by whoever starts the service; known from the first start on.
    admin_key: SecretStr | None = None
    # Under which addresses of the suppression list are hashed; none: the key in the data folder.
    address_key: SecretStr | None = Field(default=None, min_length=16)
    # Where providers and users reach the service (https://…); empty: no links to it are made.
    public_url: str = ""
    # Secrets that webhooks of each CRM, and receipts of each channel, are signed with; several of one count,
    # so that one can be replaced.
    webhook_secrets: dict[str, list[SecretStr]] = {}
    # A JSON file of the same form, for secrets that a store puts there.
    webhook_secrets_file: Path | None = None
    # Secrets of channels, by the names that `channels.yaml` gives them.
    channel_secrets: dict[str, SecretStr] = {}
    # Auth tokens of Twilio accounts by channel, which sign its callbacks; several of one count.
    twilio_tokens: dict[str, list[SecretStr]] = {}
    # What the webhooks are signed with that flows send (whsec_…); without one they are not sent.
    signing_secret: SecretStr | None = None
    # Inside which networks those webhooks may go although these are not of the public internet.
    webhook_networks: list[IPv4Network | IPv6Network] = []
    # How many wrong coupon codes are let through, by the shop's key, the user and the visitor.
    coupon_guesses: GuessLimits = GuessLimits()
    # What identities of a kind may do, where that is not the default of `audiences.identity.models`.
    identities: dict[str, KindRule] = {}
    # An event that arrives so much later than it happened counts as late.
    late_after: timedelta = Field(default=timedelta(hours=1), ge=timedelta(0))
    # Where phone numbers without a country code are from, for example DE.
    phone_region: str = Field(default="", pattern="^([A-Z]{2})?$")

    @field_validator("port", mode="before")
    @classmethod
    def _of_ours(cls, value: Any) -> Any:
        if isinstance(value, str) and "://" in value:
            raise ValueError(
                f"{value} is what Kubernetes says of a service named nextplay: set "
                "`enableServiceLinks: false` for the pod, or give --port"
            )
        return value

    @field_validator("clock")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("write the time with its zone, for example 2017-03-27T04:00:00Z")
        return value

    @field_validator("online_url")
    @classmethod
    def _is_server(cls, value: str) -> str:
        if value:
            try:
                connection_string(value)
            except FeatureRepositoryError as error:
                raise ValueError(str(error)) from error
        return value

    @field_validator("public_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        parts = urlsplit(value)
        plain = not (parts.query or parts.fragment or parts.username)
        if value and not (parts.scheme in ("https", "http") and parts.hostname and plain):
            raise ValueError("write the address by which the service is reached, like https://m.example.com")
        return value.rstrip("/")

    @field_validator("signing_secret")
    @classmethod
    def _is_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not is_secret(value.get_secret_value()):
            raise ValueError("this is no secret: it is whsec_ and base64 of 16 bytes at least")
        return value

    @field_validator("admin_key")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and parse(value.get_secret_value()) is None:
            raise ValueError("this is no key; `nextplay keys generate` prints one")
        return value

    @property
    def url(self) -> str:
        """The database: as set, or the SQLite file in the data folder."""
        return self.database_url or f"sqlite:///{(self.data / 'nextplay.db').absolute()}"

    @property
    def library_folder(self) -> Path:
        """Where the library's files lie."""
        return self.library or self.data / "library"


def load_settings(**given: Any) -> Settings:
    """Return the settings: what is given (not None), then the environment, then the data folder's file.

    Raises:
        ConfigurationError: a value can't be used; the message names the setting.
    """
    explicit = {name: value for name, value in given.items() if value is not None}
    _check_names(os.environ)
    try:
        data = Path(explicit.get("data") or Settings(**explicit).data)
        return Settings(_env_file=data / SETTINGS_FILE, **explicit)
    except ValidationError as error:
        details = "; ".join(
            f"{'.'.join(map(str, detail['loc']))}: {said(detail)}" for detail in error.errors()
        )
        raise ConfigurationError(f"a setting can't be used: {details}") from error
    except SettingsError as error:
        # What it says quotes the class that read it; what was written may be a secret.
        reason = error.__cause__ or error
        named = next((name for name in Settings.model_fields if f'"{name}"' in str(error)), "one of them")
        raise ConfigurationError(
            f"a setting can't be used: {named}: this must be JSON ({reason}); see the reference of settings"
        ) from error


def _check_names(environment: Iterable[str]) -> None:
    """Refuse names of the environment that look like a setting and are none (ConfigurationError)."""
    known = {*Settings.model_fields, *_OF_COMMANDS}
    for name in sorted(environment):
        asked = name.upper().removeprefix(_PREFIX).lower()
        if not name.upper().startswith(_PREFIX) or asked in known or asked.startswith(_OF_TESTS):
            continue
        if _OF_KUBERNETES.fullmatch(asked) is None:
            meant = closest(name, [f"{_PREFIX}{one.upper()}" for one in known])
            raise ConfigurationError(
                f"the environment has a setting {name} that there is not{meant or ': take it away'}"
            )


def library_there(folder: Path) -> None:
    """Refuse a folder that does not exist (ConfigurationError)."""
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no library folder {folder}: name one with --library, or let `nextplay init` make a "
            "data folder with a library to begin with"
        )
