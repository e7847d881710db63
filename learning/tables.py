"""Tables of learning."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Index, Integer, LargeBinary, String, Table, Text, UniqueConstraint

from storage.schema import Sequence64, metadata
from storage.times import Instant

# One row for every decision that brings a reward: when its window closes, and whether it was credited. One
# that is to be judged again is not `matured` any more and keeps in `rewarded` how many versions of its reward
# there are. `goal_version` is the playbook's version whose goal judges it, null where that is its own.
reward_windows = Table(
    "reward_windows",
    metadata,
    Column("decision_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("placement", Text, nullable=False),
    Column("decided_at", Instant, nullable=False),
    Column("closes_at", Instant, nullable=False),
    Column("policy", Text, nullable=False),
    Column("playbook", Text),
    Column("playbook_version", Integer),
    Column("arm", Text, nullable=False),
    Column("acts", Boolean, nullable=False),
    Column("matured", Boolean, nullable=False),
    Column("rewarded", Integer, nullable=False, server_default="0"),
    Column("goal_version", Integer),
    Index("ix_reward_windows_matured_closes_at", "matured", "closes_at"),
    Index("ix_reward_windows_user_id_decided_at", "user_id", "decided_at"),
)

# Every published version of every policy. `body` is its record without the weights, which are a difference to
# those of `base`, or whole where that is null; what is kept no longer becomes null (`learning.keeping`).
policies = Table(
    "policies",
    metadata,
    Column("version", String(96), primary_key=True),
    Column("policy", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("parent", String(96)),
    Column("created_at", Instant, nullable=False),
    Column("spec_hash", String(16), nullable=False),
    Column("trained", Integer, nullable=False),
    Column("through", Sequence64, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("base", String(96)),
    Column("weights", LargeBinary),
    Column("state", LargeBinary),
    Column("used", Boolean, nullable=False),
    UniqueConstraint("policy", "number", name="uq_policies_policy_number"),
)

# Who took charge of the decisions of policy.yaml (`slot`), in turn; without a row the policy of that file is.
policy_charges = Table(
    "policy_charges",
    metadata,
    Column("slot", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("policy", String(64), nullable=False),
    Column("former", String(64), nullable=False),
    Column("since", Instant, nullable=False),
    Column("how", String(16), nullable=False),
    Column("change_id", String(36), nullable=False),
)

# What a policy that was not in charge would have done in a decision: its vector over the recorded arms.
shadow_rounds = Table(
    "shadow_rounds",
    metadata,
    Column("policy", String(64), primary_key=True),
    Column("decision_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("decided_at", Instant, nullable=False),
    Column("drawer", String(64), nullable=False),
    Column("version", String(96), nullable=False),
    Column("vector", LargeBinary, nullable=False),
    Index("ix_shadow_rounds_policy_drawer_decided_at", "policy", "drawer", "decided_at"),
    Index("ix_shadow_rounds_user_id", "user_id"),
)

# The newest evidence for each policy that is not in charge.
policy_evidence = Table(
    "policy_evidence",
    metadata,
    Column("slot", String(64), primary_key=True),
    Column("policy", String(64), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("body", Text, nullable=False),
)

# What was promised at each promotion, and what came of it, null until that is known.
policy_claims = Table(
    "policy_claims",
    metadata,
    Column("change_id", String(36), primary_key=True),
    Column("slot", String(64), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("former", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("until", Instant, nullable=False),
    Column("promised", Text, nullable=False),
    Column("live", Text),
    Index("ix_policy_claims_slot_at", "slot", "at"),
)

# What evaluations said of policy versions (`body`), each once, and what came of it; `settled` when that is
# known or never will be.
estimate_claims = Table(
    "estimate_claims",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("digest", String(32), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("body", Text, nullable=False),
    Column("settled", Boolean, nullable=False),
    UniqueConstraint("digest", name="uq_estimate_claims_digest"),
    Index("ix_estimate_claims_policy_at", "policy", "at"),
)
