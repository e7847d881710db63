"""The constraints that hold for a library, and the terms that each version of a playbook is under."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from audiences.rules import Schema
from playbooks.constraints.binding import CONTEXT, Terms
from playbooks.constraints.documents import Constraint
from playbooks.content.expiry import ends

if TYPE_CHECKING:
    from playbooks.library.serving import PublishedPlaybook

# Where nobody says what rules may speak of, they speak of tags, audiences and the moment.
NO_NAMES = Schema({}, tags=True, audiences=True)


@dataclass(frozen=True)
class Rulebook:
    """The constraints of `constraints.yaml` in one of their versions, 0 where there never were any.

    `schema` is what rules may speak of beside the context of a decision.
    """

    constraints: Sequence[Constraint] = ()
    version: int = 0
    schema: Schema = NO_NAMES
    _terms: dict[str, Terms] = field(init=False, default_factory=dict, compare=False)

    def terms(self, playbook: PublishedPlaybook) -> Terms:
        """Return the terms of a version of a playbook, made when they are first asked for."""
        found = self._terms.get(playbook.key)
        if found is None:
            found = self._terms[playbook.key] = Terms(
                playbook.document,
                playbook.arms,
                self.constraints,
                with_context(self.schema),
                tuple(ends(playbook.contents, playbook.arms)),
                tuple(playbook.offers.values()),
            )
        return found


def with_context(schema: Schema) -> Schema:
    """Return what constraints may speak of: these names, and the moment of the decision."""
    return Schema({**schema.names, **CONTEXT}, schema.tags, schema.audiences, schema.options)
