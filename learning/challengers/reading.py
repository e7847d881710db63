"""Reads challengers (`policies/challengers/*.yaml`) and the rules of promotion (`promotion.yaml`)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from learning.challengers.rules import PromotionRules
from learning.errors import PolicySpecError
from learning.spec import PolicySpec, read_spec
from playbooks.library.reading import read_optional

CHALLENGERS = Path("policies") / "challengers"


def read_promotion(folder: Path) -> PromotionRules:
    """Read `promotion.yaml`; without the file the defaults hold. Raises LibraryError."""
    return read_optional(folder / "promotion.yaml", PromotionRules)


def read_challengers(folder: Path, policy: PolicySpec) -> Mapping[str, PolicySpec]:
    """Return the challengers of a policy by file, each a specification of its own.

    Raises:
        PolicySpecError: a file is wrong, or decides something else than the policy does.
    """
    found: dict[str, PolicySpec] = {}
    ids = {policy.id: "policy.yaml"}
    for path in sorted((folder / CHALLENGERS).glob("*.yaml")):
        name, spec = str(CHALLENGERS / path.name), read_spec(path)
        if spec.id in ids:
            raise PolicySpecError(f"{name}: id: {spec.id!r} is the policy of {ids[spec.id]}; take another")
        if sorted(spec.placements) != sorted(policy.placements):
            raise PolicySpecError(
                f"{name}: placements: a challenger decides what the policy does: write "
                f"[{', '.join(policy.placements)}]"
            )
        if spec.reward != policy.reward:
            raise PolicySpecError(
                f"{name}: reward: rewards are those of policy.yaml, from {policy.reward.low:g} to "
                f"{policy.reward.high:g}; write the same"
            )
        for field in ("guards", "costs", "fallbacks"):
            if getattr(spec, field):
                raise PolicySpecError(
                    f"{name}: {field}: they hold for whoever is in charge and are said in policy.yaml; leave "
                    "them out"
                )
        if strange := sorted(one for one, kind in spec.told.items() if policy.told.get(one) != kind):
            raise PolicySpecError(
                f"{name}: context: requests tell what policy.yaml says, and {strange[0]!r} is not among "
                "it or of another kind there"
            )
        ids[spec.id] = name
        found[name] = spec
    return found
