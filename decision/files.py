"""Reads a library folder for serving: every file, and what the files say of each other across the rooms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiences.crm.definitions import CrmSource, owners_in, read_crm
from audiences.definitions import Definitions, read_definitions
from audiences.forms.definitions import FormSpec, read_forms
from audiences.rules import Schema
from audiences.scores.definitions import Score, read_scores
from audiences.selection.standing import options_of, schema_with
from audiences.service import SERVICE, rule_features, rule_schema
from audiences.stages.definitions import Lifecycle, read_lifecycles
from audiences.traits.definitions import read_account_traits, read_owners
from audiences.triggers.definitions import Known, Triggers, read_triggers
from delivery.channels.registry import CHANNELS
from delivery.errors import TemplateFailed
from delivery.render import check_content
from feature_repo.errors import FeatureRepositoryError
from feature_repo.schema import Scalar
from feature_repo.specs import Specs, specs_in
from learning.exploration_kinds import FixedSplit, Single
from learning.features import FeatureSet
from learning.spec import PolicySpec, read_spec
from playbooks.errors import LibraryError
from playbooks.goals import know_events
from playbooks.library import Draft, expand, read_library
from storage.errors import ConfigurationError

# The feature service that decisions read from.
DECIDE = "decide"
_ARM_VOCABULARY = "arm_"


@dataclass(frozen=True, slots=True)
class LibraryFiles:
    """A library folder, read and checked; `vocabularies` are names by arm attribute.

    `schema` is what rules of audiences may speak of.
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
    vocabularies: Mapping[str, Sequence[str]]


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
        LibraryError: a file is wrong, or names an audience, channel or placement that does not exist.
        AudienceError: the audiences are wrong.
        ScoreError: the scores are wrong.
        StageError: the lifecycles are wrong.
        TriggerError: the triggers are wrong, or name what does not exist.
        FormDefinitionError, CrmDefinitionError, TraitError: forms, CRMs or the owners of traits are wrong.
        PolicySpecError: the policy is wrong, or reads features that decisions do not have.
    """
    if not folder.is_dir():
        raise ConfigurationError(
            f"there is no library folder {folder}: name one with --library, or run `nextplay demo` to get one"
        )
    specs = read_specs(folder)
    know_events(specs.events.events)
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
    vocabularies = arm_vocabularies(specs)
    problems = [
        *_unknown_audiences(draft, definitions),
        *_unknown_channels(draft),
        *_unreadable_contents(draft),
        *_placements_without_policy(draft, policy),
        *_unknown_arms(draft, policy),
        *_missing_features(policy, vocabularies, specs),
    ]
    if problems:
        raise LibraryError(
            f"the library {folder} does not fit together:\n" + "\n".join(f"  {p}" for p in problems)
        )
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
        vocabularies=vocabularies,
    )


def arm_vocabularies(specs: Specs) -> Mapping[str, Sequence[str]]:
    """Return the vocabularies of arm attributes: `arm_category` holds the names of `arm.category`."""
    return {
        name.removeprefix(_ARM_VOCABULARY): words
        for name, words in specs.vocabularies.items()
        if name.startswith(_ARM_VOCABULARY)
    }


def _unknown_audiences(draft: Draft, definitions: Definitions) -> list[str]:
    known = {audience.id for audience in definitions.audiences}
    return [
        f"playbooks/{one.id}: audience: there is no audience {one.audience!r} in audiences.yaml; "
        f"there are {', '.join(sorted(known))}"
        for one in draft.playbooks
        if one.audience is not None and one.audience not in known
    ]


def _unknown_channels(draft: Draft) -> list[str]:
    return [
        f"playbooks/{one.id}: variants.channel: there is no channel {channel!r}; "
        f"there are {', '.join(sorted(CHANNELS))}"
        for one in draft.playbooks
        for variants in one.variants
        for channel in variants.all_channels
        if channel not in CHANNELS
    ]


def _unreadable_contents(draft: Draft) -> list[str]:
    problems = []
    for content in draft.contents.values():
        try:
            check_content(content)
        except TemplateFailed as error:
            problems.append(f"contents.yaml: {error}")
    return problems


def _placements_without_policy(draft: Draft, policy: PolicySpec) -> list[str]:
    return [
        f"playbooks/{one.id}: placement: the policy {policy.id} serves {', '.join(policy.placements)}, "
        f"not {one.placement!r}"
        for one in draft.playbooks
        if one.placement not in policy.placements
    ]


def _unknown_arms(draft: Draft, policy: PolicySpec) -> list[str]:
    """Arms that the policy names and their playbooks, as far as the folder has them, do not make."""
    if not isinstance(policy.exploration, FixedSplit | Single):
        return []
    arms = {one.id: [arm.id for arm in expand(one, draft.offers)] for one in draft.playbooks}
    return [
        f"policy.yaml: exploration: playbook {playbook!r} has no arm {name!r}; it has {', '.join(has)}"
        for name in policy.exploration.names
        if (has := arms.get(playbook := name.partition("/")[0])) is not None and name not in has
    ]


def _missing_features(
    policy: PolicySpec, vocabularies: Mapping[str, Sequence[str]], specs: Specs
) -> list[str]:
    known = specs.features_of(DECIDE)
    missing = sorted(FeatureSet(policy.features, vocabularies).inputs - known.keys())
    return [
        f"policy.yaml: features: decisions do not read {name!r}; "
        f"add its view to the service {DECIDE!r} of aggregates.yaml"
        for name in missing
    ]
