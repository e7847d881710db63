"""docs/reference/coupons.md names every state and reason, and its examples are what they say."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from typer.main import get_command
from typer.testing import CliRunner

import feature_repo.specs
from audiences.definitions import read_definitions
from audiences.service import rule_schema
from decision.auth.access import ROUTES
from decision.coupon_commands import app
from delivery.coupons.discount import Reason
from delivery.coupons.models import Standing, State
from feature_repo.specs import specs_in
from playbooks.offers import Offer, terms_of

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "coupons.md").read_text(encoding="utf-8")
SHIPPED = Path(feature_repo.specs.__file__).parent


def test_every_state_reason_and_route_is_told() -> None:
    for name in (*State, *Standing, *Reason):
        assert f"| `{name.value}` |" in PAGE, name
    routes = {
        f"{method} {path.replace('{user_id}', '{id}')}"
        for method, path in ROUTES
        if "/coupons" in path or "coupon-" in path
    }
    assert set(re.findall(r"^\| `(\w+ /v1/[^`]*)` \|", PAGE, re.M)) == routes


def test_the_commands_are_there() -> None:
    found = re.findall(r"^nextplay coupons (\S+) (.*)$", PAGE, re.M)
    assert {name for name, _ in found} == set(get_command(app).commands)  # type: ignore[attr-defined]
    for name, rest in found:
        # Without a key each of them is understood, and refused before it asks.
        done = CliRunner().invoke(app, [name, *rest.split()], env={"NEXTPLAY_KEY": ""})
        assert "key" in str(done.exception) or "no file" in str(done.exception), (name, done.output)


def test_the_examples_are_an_offer_and_a_tag_over_redemptions(tmp_path: Path) -> None:
    offers, stock, event, view, tags = re.findall(r"```yaml\n(.*?)```", PAGE, re.S)
    terms = terms_of(Offer.model_validate(yaml.safe_load(offers)[0]))
    assert (terms.per_user, terms.in_all) == (2, 1000)
    assert Offer.model_validate(yaml.safe_load(stock)[0]).codes == "stock"
    for name, block, under in (("events", event, "events"), ("aggregates", view, "views")):
        document = yaml.safe_load((SHIPPED / f"{name}.yaml").read_text())
        document[under] |= yaml.safe_load(block)
        if name == "aggregates":
            for service in ("audience_rules", "decide"):
                document["services"][service].append("user_coupons")
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(document))
    everybody = "audiences:\n  - {id: all, name: All, rule: 'true'}\n"
    (tmp_path / "audiences.yaml").write_text(tags + everybody)
    specs = specs_in(tmp_path)
    found = read_definitions(tmp_path / "audiences.yaml", rule_schema(specs))
    assert [one.tag for one in found.tags] == ["used_coupon"]
