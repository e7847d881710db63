"""Policy versions: immutable records of specification, vocabularies, weights and their origin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from learning.errors import BrokenWeights
from learning.features import FeatureSet
from learning.learner import Learnt, Task
from learning.learner_kinds import Portfolio
from learning.models import model_from_bytes
from learning.policy import LearnedPolicy
from learning.probe import probe
from learning.spec import PolicySpec


class PolicyVersion(msgspec.Struct, frozen=True):
    """One version, complete: it can be scored with for ever without anything else.

    `trained` decisions were learnt from, over all versions; `through` is the `seq` of the last reward fact
    among them, `corrected` that of the last fact which corrected one; `anew`: it was learnt from the first
    reward on, so that corrections count as if they had come in time. `metrics` tell of the rows that are new
    in this version. `state` is what the learner goes on from, None before the first training. Of a portfolio,
    `member` is the one in charge, whose model it is. `shards` is in how many parts it was learnt at a time.
    """

    version: str
    policy: str
    number: int
    parent: str | None
    created_at: datetime
    spec: bytes
    spec_hash: str
    vocabularies: Mapping[str, Sequence[str]]
    trained: int
    through: int
    metrics: Mapping[str, float]
    model: bytes
    state: bytes | None
    corrected: int = 0
    anew: bool = False
    member: str = ""
    shards: int = 1

    def specification(self) -> PolicySpec:
        """Return the specification it was made from."""
        return PolicySpec.model_validate_json(self.spec)

    def serve(self, others: frozenset[str] = frozenset()) -> LearnedPolicy:
        """Return the policy that scores and explores as this version, once it was tried.

        Args:
            others: features that its decisions record beside its own, for policies in shadow mode.

        Raises:
            BrokenWeights: the record is damaged, or what it makes is no distribution.
        """
        spec = self.specification()
        features = FeatureSet(spec.features, self.vocabularies)
        model = model_from_bytes(self.model)
        if model.names != features.names:
            raise BrokenWeights(f"{self.version}: the weights belong to other columns than its features make")
        policy = LearnedPolicy(self.version, spec, features, model, self.trained, others)
        probe(policy, self.vocabularies)
        return policy

    def unweighted(self) -> PolicyVersion:
        """Return it with the model it had before it learnt; a replay needs no more."""
        spec = self.specification()
        model = spec.untrained(FeatureSet(spec.features, self.vocabularies).names)
        return msgspec.structs.replace(self, model=model.to_bytes(), state=None)

    def numbered(self, number: int) -> PolicyVersion:
        """Return it as the policy's version of this number."""
        return msgspec.structs.replace(self, number=number, version=version_name(self.policy, number))

    def task(self) -> Task:
        """Return what a learner that continues this version has to know."""
        spec = self.specification()
        return spec.task(FeatureSet(spec.features, self.vocabularies).names)

    def to_bytes(self) -> bytes:
        return msgspec.msgpack.encode(self)

    @classmethod
    def from_bytes(cls, data: bytes) -> PolicyVersion:
        """Return the version that `to_bytes` wrote.

        Raises:
            BrokenWeights: the bytes are not one.
        """
        try:
            return msgspec.msgpack.decode(data, type=cls)
        except msgspec.MsgspecError as error:
            raise BrokenWeights(f"the record of a policy version is damaged: {error}") from error


def cold_start(
    spec: PolicySpec, vocabularies: Mapping[str, Sequence[str]], now: datetime, *, after: PolicyVersion | None
) -> PolicyVersion:
    """Return a version that has learnt nothing: it serves the prior of the specification.

    Args:
        vocabularies: names by arm attribute, in the order of the array features.
        after: the version in charge so far, whose numbering goes on; None for a policy's first version.

    Raises:
        PolicySpecError: features and vocabularies or prior do not fit together.
    """
    model = spec.untrained(FeatureSet(spec.features, vocabularies).names)
    number = after.number + 1 if after else 1
    return PolicyVersion(
        version=version_name(spec.id, number),
        policy=spec.id,
        number=number,
        parent=after.version if after else None,
        created_at=now,
        spec=spec.model_dump_json(by_alias=True).encode(),
        spec_hash=spec.fingerprint,
        vocabularies={key: list(names) for key, names in vocabularies.items()},
        trained=0,
        through=0,
        metrics={},
        model=model.to_bytes(),
        state=None,
        member=spec.learner.first if isinstance(spec.learner, Portfolio) else "",
    )


def child(
    parent: PolicyVersion,
    learnt: Learnt,
    *,
    trained: int,
    through: int,
    metrics: Mapping[str, float],
    now: datetime,
    corrected: int = 0,
    anew: bool = False,
    shards: int = 1,
) -> PolicyVersion:
    """Return the version that follows `parent` after learning `trained` decisions up to reward `through`."""
    number = parent.number + 1
    return msgspec.structs.replace(
        parent,
        version=version_name(parent.policy, number),
        number=number,
        parent=parent.version,
        created_at=now,
        trained=trained,
        through=through,
        metrics=dict(metrics),
        model=learnt.model.to_bytes(),
        state=learnt.state or None,
        corrected=corrected,
        anew=anew,
        member=learnt.member,
        shards=shards,
    )


def version_name(policy: str, number: int) -> str:
    """Return the name of a policy's n-th version, which the decision log carries."""
    return f"{policy}@{number}"
