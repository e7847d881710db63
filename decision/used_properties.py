"""Which properties of events anything reads: features, goals, flows and scores of a library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from audiences.properties import PREFIX
from audiences.quality.utilisation import Property
from decision.files import LibraryFiles
from feature_repo.aggregates import ANY_EVENT, FeatureSpec
from learning.rewards import DECISION_PROPERTY
from playbooks.flow import WaitForEvent
from playbooks.goal_documents import CURRENCY
from playbooks.goals import parse_where
from playbooks.library import Draft


def used_properties(files: LibraryFiles) -> frozenset[Property]:
    """Return event names and properties that the features and the library read."""
    features = (one for view in files.specs.views.values() for one in view.features)
    return frozenset({*_of_features(features), *_of_playbooks(files.draft), *_of_scores(files)})


def _of_features(features: Iterable[FeatureSpec]) -> Iterator[Property]:
    for feature in features:
        event, each = feature.source
        if event == ANY_EVENT:
            continue
        if each is not None:
            # Its columns are those of the list's elements, all within one property.
            yield event, each
            continue
        for measure in feature.measures:
            if measure.column is not None:
                yield event, measure.column
            for condition in measure.where:
                yield event, condition.column
        if feature.by is not None:
            yield event, feature.by.column


def _of_playbooks(draft: Draft) -> Iterator[Property]:
    attributes = {name for offer in draft.offers.values() for name in offer.attributes}
    for playbook in draft.playbooks:
        goal = playbook.goal
        for name in {goal.event, *(one.event for one in goal.negatives if one.event is not None)}:
            yield name, DECISION_PROPERTY
        for _, read in goal.read():
            yield from ((goal.event, read.property), (goal.event, CURRENCY))
        wheres: list[tuple[str, str | None]] = [(event, where) for _, event, where in goal.wheres()]
        wheres += [
            (state.event, state.where)
            for state in playbook.flow.states.values()
            if isinstance(state, WaitForEvent)
        ]
        for event, where in wheres:
            if where is not None:
                yield from _named(event, parse_where(where, event, attributes).names)


def _of_scores(files: LibraryFiles) -> Iterator[Property]:
    for score in files.scores:
        for event, lines in score.by_event.items():
            for line in lines:
                if line.where is not None:
                    yield from _named(event, line.where.rule.names)
        for event, grades in score.at_once.items():
            for grade in grades:
                if grade.where is not None:
                    yield from _named(event, grade.where.rule.names)


def _named(event: str, names: Iterable[str]) -> Iterator[Property]:
    for name in names:
        if name.startswith(PREFIX):
            yield event, name.removeprefix(PREFIX)
