"""Whether playbooks fit what else there is: audiences, channels, the policy."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiences.rules import Schema
from decision.fitting_flows import InFlows, unfit
from learning.spec import PolicySpec
from playbooks.constraints.binding import asks_for_zone
from playbooks.constraints.checking import Names, mixed_currencies, unknown_in_playbook, unknown_names
from playbooks.constraints.documents import Constraint, Fatigue
from playbooks.constraints.rulebook import Rulebook
from playbooks.content.checking import Flaw, flaws
from playbooks.content.names import Vocabulary
from playbooks.content.places import place_in
from playbooks.fallbacks import arm_for, playbook_of, unfilled
from playbooks.library import Draft, expand
from playbooks.library.problems import Problem
from playbooks.library.references import References
from playbooks.models import Playbook
from playbooks.suggesting import closest
from playbooks.windows import Windows


@dataclass(frozen=True, slots=True)
class Asked:
    """What constraints may ask: names that their rules may speak of, the feature that names a time zone."""

    schema: Schema
    zone: str | None = None


@dataclass(frozen=True, slots=True)
class Fitting:
    """Checks playbooks against the service that is to serve them; `audiences` are read at each check.

    `vocabulary` is what contents may speak of users, `asked` what constraints may ask, `in_flows` what flows
    may name, `channels` are all there are, `contents` is the file that contents were read from, if they were.
    `costs` are read at each check, of what holds; without it they are the policy's.
    """

    audiences: Callable[[], Collection[str]]
    policy: PolicySpec
    vocabulary: Vocabulary
    asked: Asked
    in_flows: InFlows
    channels: Collection[str]
    contents: Path | None = None
    costs: Callable[[], Mapping[str, float]] | None = None

    def __call__(self, draft: Draft) -> list[Problem]:
        """Return everything that does not fit: in the draft itself, and around it."""
        references = References(draft.offers, draft.contents, draft.windows)
        problems = [one for playbook in draft.playbooks for one in references.problems(playbook)]
        return [*problems, *self.around(draft)]

    def around(self, draft: Draft) -> list[Problem]:
        """Return what does not fit around a draft that was checked by itself."""
        audiences = self.audiences()
        problems = [
            Problem(f"playbooks/{playbook.id}", message, field)
            for playbook in draft.playbooks
            for field, message in self._around(playbook, audiences)
        ]
        problems += self._fallbacks(draft)
        problems += self._constraints(draft, self.asked.schema.with_audiences(audiences))
        return [*problems, *self._windows(draft.windows or Windows()), *self._contents(draft)]

    def _fallbacks(self, draft: Draft) -> Iterator[Problem]:
        """Yield why playbooks can't be what the policy shows where it can't be asked."""
        # Other constraints hold for the playbooks beside the draft too.
        around = (draft,) if draft.constraints is None or draft.beside is None else (draft.beside, draft)
        bodies = {one.id: there.body(one) for there in around for one in there.playbooks}
        rules = Rulebook(draft.constraints or (), schema=self.asked.schema)
        for placement, name in self.policy.fallbacks.items():
            body = bodies.get(playbook_of(name))
            if body is None:
                continue
            published = body.published(0)
            found = arm_for(name, placement, published, rules.terms(published))
            why = found if isinstance(found, str) else unfilled(published, found)
            if not isinstance(found, str) and why:
                why = f"says nothing to whom nobody knows: {why}"
            if why:
                yield Problem(
                    f"playbooks/{published.id}",
                    f"policy.yaml names {name!r} as the fallback of {placement}, and the playbook {why}",
                    "fallbacks",
                )

    def _constraints(self, draft: Draft, schema: Schema) -> Iterator[Problem]:
        beside = draft.beside or draft
        names = Names.of(
            [*draft.playbooks, *beside.playbooks], {*draft.offers, *beside.offers}, self.channels, schema
        )
        for playbook in draft.playbooks:
            place = f"playbooks/{playbook.id}"
            yield from (
                Problem(place, message, field) for field, message in unknown_in_playbook(playbook, names)
            )
            arms = expand(playbook, draft.offers)
            for at, message in mixed_currencies(playbook.constraints, playbook, arms, own=True):
                yield Problem(place, message, f"constraints.{at}.amount")
            if asks_for_zone(playbook.constraints):
                yield from self._zoneless(place)
            yield from self._free(place, "constraints.", playbook.constraints)
        if draft.constraints is not None:
            wrong = unknown_names(draft.constraints, names)
            yield from (Problem("constraints", message, field) for field, message in wrong)
            if asks_for_zone(draft.constraints):
                yield from self._zoneless("constraints")
            yield from self._free("constraints", "", draft.constraints)
            here = {one.id for one in draft.playbooks}
            others = [one for one in beside.playbooks if one.id not in here]
            for playbook, offers in [(one, draft.offers) for one in draft.playbooks] + [
                (one, beside.offers) for one in others
            ]:
                for at, message in mixed_currencies(draft.constraints, playbook, expand(playbook, offers)):
                    yield Problem("constraints", message, f"{at}.amount")

    def _free(self, place: str, prefix: str, constraints: Sequence[Constraint]) -> Iterator[Problem]:
        """Yield costs of fatigue that the policy would not take from any value."""
        for at, one in enumerate(constraints):
            if isinstance(one, Fatigue) and not self._costs.get(one.cost.currency):
                yield Problem(
                    place,
                    f"the policy says nothing of what {one.cost.currency} costs, so this would take nothing "
                    "from any arm: say it in policy.yaml under costs",
                    f"{prefix}{at}.cost",
                )

    @property
    def _costs(self) -> Mapping[str, float]:
        return self.policy.costs if self.costs is None else self.costs()

    def _zoneless(self, place: str) -> Iterator[Problem]:
        if self.asked.zone is not None and self.asked.zone not in self.asked.schema.names:
            yield Problem(
                place,
                "calendar windows lie on the user's own clock, but decisions don't read "
                f"{self.asked.zone!r}, which triggers.yaml names for it: add its view to the service "
                "'decide' of aggregates.yaml",
                "window",
            )

    def _around(self, playbook: Playbook, audiences: Collection[str]) -> Iterator[tuple[str, str]]:
        pilots = playbook.pilot.audience if playbook.pilot else None
        for field, name in (("audience", playbook.audience), ("pilot.audience", pilots)):
            if name is not None and name not in audiences:
                yield field, f"there is no audience {name!r}{closest(name, audiences)}"
        for index, variants in enumerate(playbook.variants):
            for channel in variants.all_channels:
                if channel not in self.channels:
                    yield (
                        f"variants.{index}.{'channels' if variants.channels else 'channel'}",
                        f"there is no channel {channel!r}; there are {', '.join(sorted(self.channels))}",
                    )
        yield from unfit(playbook.flow, self.in_flows, audiences, self.channels)
        exploring = playbook.exploration_budget
        if exploring is not None and not self._costs.get(exploring.amount.currency):
            yield (
                "exploration_budget.amount",
                f"the policy says nothing of what {exploring.amount.currency} costs, so a loss can't be told "
                "in it: say it in policy.yaml under costs",
            )
        if playbook.placement not in self.policy.placements:
            yield (
                "placement",
                f"the policy {self.policy.id} serves {', '.join(self.policy.placements)}, "
                f"not {playbook.placement!r}",
            )

    def _windows(self, windows: Windows) -> Iterator[Problem]:
        feature = windows.countries.feature
        if feature is not None and not isinstance(self.vocabulary.user.get(feature), str):
            texts = [name for name, value in self.vocabulary.user.items() if isinstance(value, str)]
            message = f"decisions read no text feature {feature!r}{closest(feature, texts)}"
            yield Problem("windows.yaml", message, "countries.feature")
        for index, rule in enumerate(windows.rules):
            for channel in rule.channels or ():
                if channel not in self.channels:
                    message = f"there is no channel {channel!r}{closest(channel, self.channels)}"
                    yield Problem("windows.yaml", message, f"rules.{index}.channels")

    def _contents(self, draft: Draft) -> Iterator[Problem]:
        text = self.contents.read_text(encoding="utf-8") if self.contents is not None else ""
        for flaw in (*flaws(draft.contents, draft.offers, self.vocabulary), *_channels(draft, self.channels)):
            at = place_in(text, flaw.content, flaw.field, flaw.line, flaw.column) if text else (0, 0)
            where = (
                f"line {flaw.line}, column {flaw.column} of the template: " if flaw.line and not at[0] else ""
            )
            field = f"{flaw.content}.{flaw.field}"
            yield Problem(str(self.contents or "contents"), f"{where}{flaw.message}", field, *at)


def _channels(draft: Draft, channels: Collection[str]) -> Iterator[Flaw]:
    for content in draft.contents.values():
        for index, wording in enumerate(content.texts):
            if wording.channel is not None and wording.channel not in channels:
                message = f"there is no channel {wording.channel!r}{closest(wording.channel, channels)}"
                yield Flaw(content.id, f"texts.{index}.channel", message)
