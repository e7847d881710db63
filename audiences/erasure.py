"""Where audiences keep something of users. What every user has is here; each goes with its user.

Suppressed addresses are not among them: they are hashes, and stay so that nobody writes to the person again.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection

from audiences.accounts.tables import account_members
from audiences.consent.tables import consents
from audiences.crm.tables import crm_objects
from audiences.identity import repository as identity
from audiences.identity.tables import (
    anonymous_profiles,
    identities,
    joined_profiles,
    joins,
    shared_identities,
)
from audiences.machines.tables import held_clicks
from audiences.scores.tables import grants, holding
from audiences.scores.tables import standings as score_standings
from audiences.selection import repository as selection
from audiences.selection.tables import bitmaps, lists, numbers
from audiences.stages.tables import standings as stage_standings
from audiences.tables import tags, users
from audiences.traits.tables import traits
from audiences.triggers.tables import firings, waits
from storage.erasure import Erasing, Place, Rows, deleted_from


def _leave_audiences(connection: Connection, whom: Erasing, _limit: int) -> int:
    # One bitmap an audience and one a list, whatever the number of users.
    return int(selection.forget(connection, whom.user_id))


PLACES: Sequence[Place] = [
    *deleted_from(
        *(users, account_members, tags, grants, holding, score_standings, stage_standings),
        *(consents, firings, waits, traits, crm_objects, held_clicks),
    ),
    Rows("audiences", [numbers, bitmaps, lists], _leave_audiences),
]


def _forget(connection: Connection, whom: Erasing, _limit: int) -> int:
    # A profile has few identities, so they all fit into a turn.
    return identity.forget(connection, [whom.user_id])


# To go last: by them the person's other profiles are found.
IDENTITIES = Rows(
    "identities", [identities, anonymous_profiles, joins, joined_profiles, shared_identities], _forget
)
