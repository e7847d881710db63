"""Fills a content's Liquid templates for one user. An unknown name is an error, never an empty place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from liquid import BoundTemplate, Environment, Mode, StrictUndefined
from liquid.exceptions import LiquidError

from delivery.errors import TemplateFailed
from delivery.plans import Plan
from playbooks.models import Arm, Content


class _Environment(Environment):
    # Contents are written by people; a slip must not fill the memory or stop the relay.
    loop_iteration_limit = 10_000
    output_stream_limit = 256 * 1024
    context_depth_limit = 20


class Text(msgspec.Struct, frozen=True, gc=False):
    """What a message says to one user."""

    subject: str
    body: str


class Renderer:
    """Renders contents; each version's templates are parsed once.

    Templates see `user_id`, `offer` (`offer.id`, `offer.name`, `offer.<attribute>`) and `arm` (`arm.id`,
    `arm.playbook`, `arm.channel`, `arm.<attribute>`).
    """

    def __init__(self) -> None:
        self._environment = _Environment(tolerance=Mode.STRICT, undefined=StrictUndefined)
        self._templates: dict[tuple[str, int, str], tuple[BoundTemplate, BoundTemplate]] = {}
        self._names: dict[tuple[str, int, str], Mapping[str, Any]] = {}

    def render(self, plan: Plan, arm: Arm, user_id: str) -> Text:
        """Return an arm's content for a user.

        Raises:
            TemplateFailed: the version lacks the offer or content, a template is wrong, a name unknown.
        """
        try:
            subject, body = self._parsed(plan, arm)
            names = self._known_names(plan, arm)
            return Text(subject.render(names, user_id=user_id), body.render(names, user_id=user_id))
        except LiquidError as error:
            raise TemplateFailed(f"the content {arm.content!r} can't be filled: {_said(error)}") from error

    def _parsed(self, plan: Plan, arm: Arm) -> tuple[BoundTemplate, BoundTemplate]:
        key = (plan.playbook, plan.version, arm.content)
        parsed = self._templates.get(key)
        if parsed is None:
            content = _of(plan.contents, arm.content, "content", plan)
            parse = self._environment.from_string
            parsed = self._templates[key] = (parse(content.subject), parse(content.body))
        return parsed

    def _known_names(self, plan: Plan, arm: Arm) -> Mapping[str, Any]:
        key = (plan.playbook, plan.version, arm.id)
        names = self._names.get(key)
        if names is None:
            offer = _of(plan.offers, arm.offer, "offer", plan)
            names = self._names[key] = {
                "offer": {**offer.attributes, "id": offer.id, "name": offer.name},
                "arm": {**arm.attributes, "id": arm.id, "playbook": arm.playbook, "channel": arm.channel},
            }
        return names


def check_content(content: Content) -> None:
    """Parse a content's templates.

    Raises:
        TemplateFailed: a template is not Liquid; the message says where.
    """
    environment = _Environment(tolerance=Mode.STRICT, undefined=StrictUndefined)
    for field, template in (("subject", content.subject), ("body", content.body)):
        try:
            environment.from_string(template)
        except LiquidError as error:
            raise TemplateFailed(f"the {field} of the content {content.id!r}: {_said(error)}") from error


def _said(error: LiquidError) -> str:
    context = error.context()
    return f"{error.message}" if context is None else f"line {context[0]}: {error.message}"


def _of(known: Mapping[str, Any], name: str, what: str, plan: Plan) -> Any:
    try:
        return known[name]
    except KeyError:
        raise TemplateFailed(
            f"version {plan.version} of the playbook {plan.playbook!r} has no {what} {name!r}"
        ) from None
