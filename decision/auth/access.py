"""Who may use which route. A route that is not named here is refused to everybody."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from decision.auth.models import Scope


class Access(msgspec.Struct, frozen=True):
    """Who may use a route: a key with any of the scopes, or anybody where there is none.

    `basic`: the key may come as the user name of HTTP basic auth, or as `writeKey` in the body, as Segment's
    SDKs send it.
    """

    scopes: frozenset[Scope]
    basic: bool = False


def _having(*scopes: Scope, basic: bool = False) -> Access:
    return Access(frozenset(scopes), basic)


PUBLIC = Access(frozenset())
_EVENTS = _having(Scope.EVENTS, basic=True)
_OPERATE = _having(Scope.OPERATE)
# Of tasks a person sees what is their own, their team's, and of those they supervise.
_WORK = _having(Scope.WORK, Scope.OPERATE)
# What users told a backend: a preference page, a mail provider's complaint.
_SAYS = _having(Scope.EVENTS, Scope.OPERATE)
# What a backend shows its user, as it shows what was decided.
_SHOWS = _having(Scope.DECIDE, Scope.OPERATE)
_ADMIN = _having(Scope.ADMIN)
_APPROVE = _having(Scope.APPROVE)
_CHECKOUT = _having(Scope.CHECKOUT)
# A shop's service desk, and ours.
_WALLET = _having(Scope.CHECKOUT, Scope.OPERATE)
# Whoever approves a playbook has to see what it says.
_REVIEW = _having(Scope.OPERATE, Scope.APPROVE)
# A decision's record is what evaluations are made of, and what operators are asked about.
_RECORDS = _having(Scope.EVALUATE, Scope.OPERATE)

# By method and path as the route declares it; HEAD goes with GET.
ROUTES: Mapping[tuple[str, str], Access] = {
    ("GET", "/health"): PUBLIC,
    ("GET", "/ready"): PUBLIC,
    ("GET", "/openapi.json"): PUBLIC,
    ("GET", "/docs"): PUBLIC,
    ("GET", "/docs/oauth2-redirect"): PUBLIC,
    ("GET", "/redoc"): PUBLIC,
    ("GET", "/metrics"): _OPERATE,
    ("POST", "/v1/track"): _EVENTS,
    ("POST", "/v1/identify"): _EVENTS,
    ("POST", "/v1/page"): _EVENTS,
    ("POST", "/v1/screen"): _EVENTS,
    ("POST", "/v1/group"): _EVENTS,
    ("POST", "/v1/alias"): _EVENTS,
    ("POST", "/v1/batch"): _EVENTS,
    ("POST", "/v1/decide"): _having(Scope.DECIDE),
    ("GET", "/v1/decisions/{decision_id}"): _RECORDS,
    ("GET", "/v1/decisions/{decision_id}/explain"): _RECORDS,
    ("POST", "/v1/decisions/{decision_id}/explain"): _RECORDS,
    ("POST", "/v1/decisions/{decision_id}/replay"): _RECORDS,
    ("POST", "/v1/decisions/{decision_id}/rescore"): _RECORDS,
    ("POST", "/v1/evaluations"): _RECORDS,
    ("GET", "/v1/claims"): _having(Scope.EVALUATE, Scope.OPERATE, Scope.APPROVE),
    ("GET", "/v1/experiments/{policy}"): _RECORDS,
    ("GET", "/v1/policies"): _having(Scope.EVALUATE, Scope.OPERATE, Scope.APPROVE),
    ("GET", "/v1/policies/{policy}"): _having(Scope.EVALUATE, Scope.OPERATE, Scope.APPROVE),
    ("POST", "/v1/policies/{policy}/promote"): _APPROVE,
    ("POST", "/v1/policies/versions/{version}/rebuild"): _having(Scope.EVALUATE, Scope.OPERATE),
    ("GET", "/v1/budgets"): _OPERATE,
    ("GET", "/v1/changes"): _REVIEW,
    ("GET", "/v1/changes/{change_id}"): _REVIEW,
    ("POST", "/v1/changes/{change_id}/undo"): _OPERATE,
    ("GET", "/v1/audiences"): _OPERATE,
    ("POST", "/v1/audiences"): _OPERATE,
    ("POST", "/v1/audiences/count"): _OPERATE,
    ("POST", "/v1/audiences/overlap"): _OPERATE,
    ("GET", "/v1/audiences/{audience}"): _OPERATE,
    ("PUT", "/v1/audiences/{audience}"): _OPERATE,
    ("DELETE", "/v1/audiences/{audience}"): _OPERATE,
    ("GET", "/v1/audiences/{audience}/history"): _OPERATE,
    ("GET", "/v1/audiences/{audience}/members"): _OPERATE,
    ("GET", "/v1/audiences/{audience}/members/{user_id}"): _OPERATE,
    ("PUT", "/v1/audiences/{audience}/list"): _OPERATE,
    ("POST", "/v1/audiences/{audience}/test"): _OPERATE,
    ("GET", "/v1/users/{user_id}"): _OPERATE,
    ("GET", "/v1/users/{user_id}/identities"): _OPERATE,
    ("POST", "/v1/users/merge"): _OPERATE,
    ("GET", "/v1/accounts/{account_id}"): _OPERATE,
    ("GET", "/v1/accounts/{account_id}/stages"): _OPERATE,
    ("PUT", "/v1/accounts/{account_id}/stages/{lifecycle}"): _OPERATE,
    ("GET", "/v1/users/{user_id}/accounts"): _OPERATE,
    ("PUT", "/v1/users/{user_id}/accounts/primary"): _OPERATE,
    ("GET", "/v1/merges"): _OPERATE,
    ("POST", "/v1/merges/{merge_id}/undo"): _OPERATE,
    ("GET", "/v1/identities"): _OPERATE,
    ("GET", "/v1/plan"): _OPERATE,
    ("POST", "/v1/plan/reload"): _OPERATE,
    ("GET", "/v1/quarantine"): _OPERATE,
    ("GET", "/v1/quarantine/{event_id}"): _OPERATE,
    ("POST", "/v1/quarantine/replay"): _OPERATE,
    ("GET", "/v1/machines"): _OPERATE,
    ("POST", "/v1/machines/{event_id}/release"): _OPERATE,
    ("GET", "/v1/quality"): _OPERATE,
    ("GET", "/v1/quality/hours"): _OPERATE,
    ("GET", "/v1/sources"): _OPERATE,
    ("GET", "/v1/scores"): _OPERATE,
    ("GET", "/v1/scores/{score}/predictors"): _OPERATE,
    ("GET", "/v1/users/{user_id}/scores/{score}"): _OPERATE,
    ("POST", "/v1/users/{user_id}/scores/{score}/answer"): _OPERATE,
    ("POST", "/v1/webhooks/{source}"): PUBLIC,
    ("GET", "/t/{token}"): PUBLIC,
    ("GET", "/p/{token}"): PUBLIC,
    ("POST", "/p/{token}"): PUBLIC,
    ("GET", "/u/{token}"): PUBLIC,
    ("POST", "/u/{token}"): PUBLIC,
    ("POST", "/v1/receipts/{channel}"): PUBLIC,
    ("GET", "/v1/receipts/{channel}/waiting"): _OPERATE,
    ("POST", "/v1/receipts/{channel}/replay"): _OPERATE,
    ("GET", "/v1/crm/{source}/waiting"): _OPERATE,
    ("POST", "/v1/crm/{source}/replay"): _OPERATE,
    ("POST", "/v1/crm/{source}/reconcile"): _OPERATE,
    ("GET", "/v1/forms/{form_id}"): PUBLIC,
    ("POST", "/v1/forms/{form_id}"): PUBLIC,
    ("OPTIONS", "/v1/forms/{form_id}"): PUBLIC,
    ("GET", "/v1/users/{user_id}/traits"): _OPERATE,
    ("GET", "/v1/users/{user_id}/inbox"): _SHOWS,
    ("POST", "/v1/users/{user_id}/inbox/{key}/read"): _SHOWS,
    ("POST", "/v1/users/{user_id}/inbox/{key}/dismiss"): _SHOWS,
    ("GET", "/v1/users/{user_id}/consents"): _OPERATE,
    ("PUT", "/v1/users/{user_id}/consents"): _SAYS,
    ("POST", "/v1/suppressions"): _SAYS,
    ("POST", "/v1/suppressions/lift"): _OPERATE,
    ("POST", "/v1/suppressions/check"): _OPERATE,
    ("GET", "/v1/users/{user_id}/tags"): _OPERATE,
    ("PUT", "/v1/users/{user_id}/tags/{tag}"): _OPERATE,
    ("DELETE", "/v1/users/{user_id}/tags/{tag}"): _OPERATE,
    ("GET", "/v1/triggers"): _OPERATE,
    ("POST", "/v1/triggers/{trigger}/fire"): _OPERATE,
    ("GET", "/v1/lifecycles"): _OPERATE,
    ("GET", "/v1/lifecycles/{lifecycle}"): _OPERATE,
    ("GET", "/v1/users/{user_id}/stages"): _OPERATE,
    ("PUT", "/v1/users/{user_id}/stages/{lifecycle}"): _OPERATE,
    ("POST", "/v1/import/{kind}"): _OPERATE,
    ("DELETE", "/v1/users/{user_id}"): _ADMIN,
    ("GET", "/v1/library/lint"): _OPERATE,
    ("GET", "/v1/library/calendar"): _REVIEW,
    ("GET", "/v1/playbooks"): _REVIEW,
    ("GET", "/v1/playbooks/{playbook}"): _REVIEW,
    ("GET", "/v1/playbooks/{playbook}/versions"): _REVIEW,
    ("GET", "/v1/playbooks/{playbook}/versions/{version}"): _REVIEW,
    ("GET", "/v1/playbooks/{playbook}/diff"): _REVIEW,
    ("GET", "/v1/playbooks/{playbook}/pilot"): _REVIEW,
    ("POST", "/v1/playbooks/{playbook}/preview"): _REVIEW,
    ("GET", "/v1/contents"): _REVIEW,
    ("GET", "/v1/contents/{content}"): _REVIEW,
    ("GET", "/v1/contents/{content}/diff"): _REVIEW,
    ("GET", "/v1/playbooks/{playbook}/earnings"): _REVIEW,
    ("GET", "/v1/playbooks/{playbook}/exploration"): _REVIEW,
    ("POST", "/v1/playbooks/{playbook}/rewards/recompute"): _OPERATE,
    ("GET", "/v1/rewards/refused"): _OPERATE,
    ("POST", "/v1/playbooks/{playbook}/proof"): _OPERATE,
    ("POST", "/v1/playbooks/{playbook}/rehearse"): _REVIEW,
    ("GET", "/v1/playbooks/{playbook}/draft"): _REVIEW,
    ("PUT", "/v1/playbooks/{playbook}/draft"): _OPERATE,
    ("DELETE", "/v1/playbooks/{playbook}/draft"): _OPERATE,
    ("POST", "/v1/playbooks/{playbook}/submit"): _OPERATE,
    ("POST", "/v1/playbooks/{playbook}/approve"): _APPROVE,
    ("POST", "/v1/playbooks/{playbook}/reject"): _APPROVE,
    ("POST", "/v1/playbooks/{playbook}/pilot"): _OPERATE,
    ("POST", "/v1/playbooks/{playbook}/publish"): _OPERATE,
    ("POST", "/v1/playbooks/{playbook}/pause"): _OPERATE,
    ("POST", "/v1/playbooks/{playbook}/resume"): _OPERATE,
    ("POST", "/v1/playbooks/{playbook}/retire"): _OPERATE,
    ("GET", "/v1/shaping"): _REVIEW,
    ("PUT", "/v1/shaping"): _OPERATE,
    ("GET", "/v1/constraints"): _REVIEW,
    ("GET", "/v1/constraints/versions"): _REVIEW,
    ("GET", "/v1/constraints/versions/{version}"): _REVIEW,
    ("GET", "/v1/library/schemas/{name}"): _REVIEW,
    ("POST", "/v1/library/validate"): _OPERATE,
    ("POST", "/v1/library/import"): _OPERATE,
    ("GET", "/v1/library/export"): _OPERATE,
    ("GET", "/v1/coupon-stock"): _OPERATE,
    ("POST", "/v1/coupon-stock"): _OPERATE,
    ("POST", "/v1/coupons"): _OPERATE,
    ("POST", "/v1/coupons/{code}/validate"): _WALLET,
    ("POST", "/v1/coupons/{code}/reserve"): _CHECKOUT,
    ("POST", "/v1/coupons/{code}/redeem"): _CHECKOUT,
    ("POST", "/v1/coupons/{code}/rollback"): _CHECKOUT,
    ("POST", "/v1/coupons/{code}/void"): _OPERATE,
    ("GET", "/v1/coupons/{code}"): _WALLET,
    ("GET", "/v1/users/{user_id}/coupons"): _WALLET,
    ("POST", "/v1/recalls"): _OPERATE,
    ("GET", "/v1/channels"): _OPERATE,
    ("GET", "/v1/channels/{name}"): _OPERATE,
    ("GET", "/v1/controls"): _OPERATE,
    ("POST", "/v1/controls"): _OPERATE,
    ("DELETE", "/v1/controls"): _OPERATE,
    ("GET", "/v1/playbooks/{playbook}/flow"): _REVIEW,
    ("POST", "/v1/playbooks/{playbook}/simulate"): _OPERATE,
    ("GET", "/v1/tasks"): _WORK,
    ("GET", "/v1/tasks/{task_id}"): _WORK,
    ("POST", "/v1/tasks/{task_id}/claim"): _WORK,
    ("POST", "/v1/tasks/{task_id}/reassign"): _WORK,
    ("POST", "/v1/tasks/{task_id}/snooze"): _WORK,
    ("POST", "/v1/tasks/{task_id}/comment"): _WORK,
    ("POST", "/v1/tasks/{task_id}/done"): _WORK,
    ("POST", "/v1/tasks/callback"): PUBLIC,
    # Its pages take the key from a cookie.
    ("GET", "/inbox"): PUBLIC,
    ("POST", "/inbox/key"): PUBLIC,
    ("POST", "/inbox/leave"): PUBLIC,
    ("GET", "/inbox/{task_id}"): PUBLIC,
    ("POST", "/inbox/{task_id}/{what}"): PUBLIC,
    ("GET", "/v1/people"): _WORK,
    ("GET", "/v1/people/report"): _OPERATE,
    ("POST", "/v1/people/{person}/leave"): _OPERATE,
    ("POST", "/v1/people/export"): _having(Scope.EXPORT),
    ("GET", "/v1/playbooks/{playbook}/runs"): _OPERATE,
    ("POST", "/v1/playbooks/{playbook}/runs/move"): _OPERATE,
    ("POST", "/v1/playbooks/{playbook}/runs/end"): _OPERATE,
    ("GET", "/v1/enrolments/late"): _OPERATE,
    ("GET", "/v1/enrolments/{enrolment_id}"): _OPERATE,
    ("POST", "/v1/enrolments/{enrolment_id}/end"): _OPERATE,
    ("GET", "/v1/summary"): _OPERATE,
    ("POST", "/v1/jobs/{name}"): _OPERATE,
    ("GET", "/v1/clock"): _OPERATE,
    ("PUT", "/v1/clock"): _OPERATE,
    ("GET", "/v1/keys"): _ADMIN,
    ("POST", "/v1/keys"): _ADMIN,
    ("POST", "/v1/keys/{key_id}/rotate"): _ADMIN,
    ("DELETE", "/v1/keys/{key_id}"): _ADMIN,
}
