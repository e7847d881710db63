"""The keys of a service that starts: the operator's own is registered, or a first one is made and shown."""

from __future__ import annotations

import sys

from pydantic import SecretStr

from decision.auth.models import parse
from decision.auth.service import Keys
from storage.clock import Clock
from storage.engine import Database

_FIRST = """
The first key of this service, with the scope admin. It is shown this once, so keep it:

    {key}

Send it as `Authorization: Bearer np_…`. It makes more keys, each with the scopes it needs:

    nextplay keys create --name shop --scope decide --scope events --url … --key …
"""


def open_keys(database: Database, clock: Clock, admin_key: SecretStr | None) -> Keys:
    """Return the keys of a database; a database that never had any gets its first one, printed once.

    Raises:
        DatabaseUnavailable: the database can't be written.
    """
    keys = Keys(database, clock)
    chosen = None if admin_key is None else parse(admin_key.get_secret_value())
    if chosen is not None:
        keys.register_admin(chosen)
    first = keys.create_first()
    if first is not None:
        # Not through the log, whose lines are collected and kept.
        print(_FIRST.format(key=first), file=sys.stdout, flush=True)  # noqa: T201
    return keys
