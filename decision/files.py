"""Reads a library folder for serving: every file, and what the files say of each other across the rooms."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiences.crm.definitions import CrmSource, owners_in, read_crm
from audiences.definitions import Definitions, read_definitions
from audiences.forms.definitions import FormSpec, read_forms
from audiences.plan.documents import FOLDER, read_plan
from audiences.rules import Schema
from audiences.scores.definitions import Score, read_scores
from audiences.selection.standing import options_of, schema_with
from audiences.service import SERVICE, online_schema, rule_features, rule_schema
from audiences.stages.definitions import Lifecycle, read_lifecycles
from audiences.traits.definitions import read_account_traits, read_owners
from audiences.triggers.definitions import Known, Triggers, read_triggers
from decision.context import with_told
from decision.fitting import Asked, Fitting
from decision.fitting_flows import InFlows
from decision.settings import library_there
from decision.vocabulary import vocabulary_of
from delivery.channels.documents import ChannelSpec, read_channels
from delivery.people.staff import Staff, read_staff
from feature_repo.errors import FeatureRepositoryError
from feature_repo.schema import Scalar
from feature_repo.specs import Specs, specs_in
from learning.challengers.reading import read_challengers, read_promotion
from learning.challengers.rules import PromotionRules
from learning.exploration_kinds import FixedSplit, Single
from learning.features import FeatureSet
from learning.spec import PolicySpec, read_spec
from playbooks.content.names import Vocabulary
from playbooks.fallbacks import playbook_of
from playbooks.goals import know_events
from playbooks.insiders import Insiders
from playbooks.library import Draft, expand, read_library
from playbooks.library.approval import Approval
from playbooks.library.problems import Problem, refuse
from playbooks.library.reading import read_approval, read_insiders, read_protection
from playbooks.protection import Protection
from playbooks.suggesting import closest
from storage.errors import ConfigurationError

# The feature service that decisions read from.
DECIDE = "decide"
_ARM_VOCABULARY = "arm_"


@dataclass(frozen=True, slots=True)
class LibraryFiles:
    """A library folder, read and checked; `vocabularies` are names by arm attribute.

    `challengers` are policies that compete with `policy` under the rules of `promotion`.
    `schema` is what rules of audiences may speak of, `vocabulary` what contents may, `asked` what
    constraints may.
    """

    specs: Specs
    schema: Schema
    draft: Draft
    definitions: Definitions
    scores: Sequence[Score]
    lifecycles: Sequence[Lifecycle]
    triggers: Triggers
    forms: Mapping[str, FormSpec]
    crm: Mapping[str, CrmSource]
    owners: Mapping[str, str]
    account_traits: Mapping[str, Scalar]
    policy: PolicySpec
    challengers: Sequence[PolicySpec]
    promotion: PromotionRules
    approval: Approval
    vocabularies: Mapping[str, Sequence[str]]
    vocabulary: Vocabulary
    insiders: Insiders
    protection: Protection
    channels: Mapping[str, ChannelSpec]
    asked: Asked
    staff: Staff

    @property
    def policies(self) -> Mapping[str, PolicySpec]:
        """All policies by id, the one of policy.yaml first."""
        return {one.id: one for one in (self.policy, *self.challengers)}

    @property
    def policy_inputs(self) -> frozenset[str]:
        """The features that decisions record: those that any policy reads."""
        read = (FeatureSet(one.features, self.vocabularies).inputs for one in self.policies.values())
        return frozenset().union(*read)

    @property
    def in_flows(self) -> InFlows:
        """What flows may name."""
        return InFlows(self.schema, [one.spec.id for one in self.scores], self.staff)


def read_specs(folder: Path) -> Specs:
    """Read what a library folder says of events, features and vocabularies; what it does not say is shipped.

    Raises:
        ConfigurationError: a file is wrong, or there is no feature service for decisions or audiences.
    """
    try:
        specs = specs_in(folder)
        for service in (DECIDE, SERVICE):
            specs.views_of(service)
    except FeatureRepositoryError as error:
        raise ConfigurationError(str(error)) from error
    for view in specs.views_of(DECIDE):
        if view.of_accounts:
            raise ConfigurationError(
                f"service '{DECIDE}': view '{view.name}' is of accounts, which decisions don't read: take it "
                f"out of '{DECIDE}' and select by an audience over it"
            )
    return specs


def read_files(folder: Path) -> LibraryFiles:
    """Read a library folder.

    Raises:
        ConfigurationError: there is no such folder, or its events, aggregates or vocabularies are wrong.
        LibraryError: a file is wrong, or names an audience, channel, placement or person that does not exist.
        AudienceError: the audiences are wrong.
        ScoreError: the scores are wrong.
        StageError: the lifecycles are wrong.
        TriggerError: the triggers are wrong, or name what does not exist.
        FormDefinitionError, CrmDefinitionError, TraitError: forms, CRMs or the owners of traits are wrong.
        PlanError: the tracking plan is wrong.
        PolicySpecError: the policy is wrong, or reads features that decisions do not have.
    """
    library_there(folder)
    specs = read_specs(folder)
    know_events(specs.events.events)
    channels = read_channels(folder)
    draft = read_library(folder)
    account_traits = read_account_traits(folder / "traits.yaml", rule_features(specs))
    schema = rule_schema(specs, account_traits)
    scores = read_scores(folder / "scores.yaml", schema, specs.events)
    lifecycles = read_lifecycles(folder / "stages.yaml", schema)
    placed = schema_with(schema, options_of(lifecycles, scores))
    definitions = read_definitions(folder / "audiences.yaml", placed)
    known = Known(
        features=rule_features(specs, account_traits),
        audiences=[audience.id for audience in definitions.audiences],
        grades={score.spec.id: [one.grade for one in score.spec.grades] for score in scores},
        stages={lifecycle.spec.id: lifecycle.stages for lifecycle in lifecycles},
    )
    triggers = read_triggers(folder / "triggers.yaml", specs.events, known)
    forms = read_forms(folder / "forms.yaml")
    crm = read_crm(folder / "crm.yaml")
    owners = read_owners(folder / "traits.yaml", owners_in(folder / "crm.yaml", crm))
    policy = read_spec(folder / "policy.yaml")
    challengers = read_challengers(folder, policy)
    vocabularies = arm_vocabularies(specs)
    plan = read_plan(folder / FOLDER)
    asked = Asked(with_told(online_schema(specs, DECIDE), policy.told), triggers.zones.feature)
    staff = read_staff(folder)
    vocabulary = vocabulary_of(specs, DECIDE, account_traits, triggers, plan, owners)
    problems = [
        *Fitting(
            lambda: known.audiences,
            policy,
            vocabulary,
            asked,
            InFlows(placed, tuple(known.grades), staff),
            channels,
            folder / "contents.yaml",
        ).around(draft),
        *_unknown_arms(draft, policy),
        *_unknown_fallbacks(draft, policy),
        *_missing_features("policy.yaml", policy, vocabularies, specs),
        *(
            problem
            for name, one in challengers.items()
            for problem in (
                *_missing_features(name, one, vocabularies, specs),
                *_unknown_arms(draft, one, name),
            )
        ),
        *_unknown_guarded(policy, known.audiences),
        *_unread_zone(triggers, draft, specs),
    ]
    refuse(problems, f"the library {folder} does not fit together")
    return LibraryFiles(
        specs=specs,
        schema=placed,
        draft=draft,
        definitions=definitions,
        scores=scores,
        lifecycles=lifecycles,
        triggers=triggers,
        forms=forms,
        crm=crm,
        owners=owners,
        account_traits=account_traits,
        policy=policy,
        challengers=list(challengers.values()),
        promotion=read_promotion(folder),
        approval=read_approval(folder),
        vocabularies=vocabularies,
        vocabulary=vocabulary,
        insiders=read_insiders(folder),
        protection=read_protection(folder),
        channels=channels,
        asked=asked,
        staff=staff,
    )


def arm_vocabularies(specs: Specs) -> Mapping[str, Sequence[str]]:
    """Return the vocabularies of arm attributes: `arm_category` holds the names of `arm.category`."""
    return {
        name.removeprefix(_ARM_VOCABULARY): words
        for name, words in specs.vocabularies.items()
        if name.startswith(_ARM_VOCABULARY)
    }


def _unknown_arms(draft: Draft, policy: PolicySpec, file: str = "policy.yaml") -> list[Problem]:
    """Arms that the policy names and their playbooks, as far as the folder has them, do not make."""
    if not isinstance(policy.exploration, FixedSplit | Single):
        return []
    arms = {one.id: [arm.id for arm in expand(one, draft.offers)] for one in draft.playbooks}
    return [
        Problem(
            file,
            f"playbook {playbook!r} has no arm {name!r}; it has {', '.join(has)}",
            "exploration",
        )
        for name in policy.exploration.names
        if (has := arms.get(playbook := name.partition("/")[0])) is not None and name not in has
    ]


def _unknown_fallbacks(draft: Draft, policy: PolicySpec) -> list[Problem]:
    """Playbooks that a placement's fallback names and that the folder does not have."""
    known = [one.id for one in draft.playbooks]
    return [
        Problem("policy.yaml", f"there is no playbook {name!r}{closest(name, known)}", f"fallbacks.{place}")
        for place, name in ((place, playbook_of(one)) for place, one in policy.fallbacks.items())
        if name not in known
    ]


def _unread_zone(triggers: Triggers, draft: Draft, specs: Specs) -> list[Problem]:
    """Windows on the users' own clocks need the feature that says which these are, and need it at once."""
    feature, windows = triggers.zones.feature, draft.windows.windows if draft.windows else ()
    if feature is None or feature in specs.features_of(DECIDE) or all(one.zone != "user" for one in windows):
        return []
    return [
        Problem(
            "triggers.yaml",
            f"windows.yaml has windows on users' own clocks, and decisions do not read {feature!r}; add "
            f"its view to the service {DECIDE!r} of aggregates.yaml",
            "zones.feature",
        )
    ]


def _unknown_guarded(policy: PolicySpec, audiences: Collection[str]) -> list[Problem]:
    """Audiences that a guard names and that do not exist."""
    return [
        Problem("policy.yaml", f"no audience {name!r}{closest(name, audiences)}", f"guards.{place}.{field}")
        for place, guard in enumerate(policy.guards)
        for field, name in (("loyal", guard.loyal), ("newer", guard.newer))
        if name not in audiences
    ]


def _missing_features(
    file: str, policy: PolicySpec, vocabularies: Mapping[str, Sequence[str]], specs: Specs
) -> list[Problem]:
    known = specs.features_of(DECIDE)
    told = [
        Problem(file, f"decisions read a feature {name!r} too; give the context another name", "context")
        for name in policy.context
        if name in known
    ]
    missing = sorted(FeatureSet(policy.features, vocabularies).inputs - known.keys() - set(policy.context))
    return told + [
        Problem(
            file,
            f"decisions do not read {name!r}; add its view to the service {DECIDE!r} of aggregates.yaml",
            "features",
        )
        for name in missing
    ]
