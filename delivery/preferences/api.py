"""HTTP routes by which users end messages. They have no key: links are signed. Looking changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qsl

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from audiences.consent.models import Channel
from audiences.forms.definitions import Rate
from audiences.forms.guards import Buckets
from delivery.errors import LinkBroken, LinkExpired, PreferencesUnfit, TooManyChanges
from delivery.links.links import SignedLinks
from delivery.links.signing import Preferences, Signer, Unsubscribe, check
from delivery.preferences import page
from delivery.preferences.service import Ending, UserPreferences
from storage.clock import Clock

MAX_PREFERENCES_BYTES = 16 * 1024
_MAX_FIELDS = 50
_CHANGES = Rate(burst=20, per_minute=20)
# What RFC 8058, section 3.1 has mail programs send.
_ONE_CLICK = ("List-Unsubscribe", "One-Click")
_DONE = {
    "save": "Saved.",
    "nothing": "Saved: you get none of these.",
    "less": "You get fewer of these from now on.",
    "usual": "You get these as often as before.",
    "none": "You get no more of these.",
    "again": "You get these again.",
}


def add_preference_routes(
    app: FastAPI, clock: Clock, wishes: UserPreferences, links: SignedLinks, signer: Signer
) -> None:
    """Add `/p/{token}`, the preference page, and `/u/{token}`, which ends messages like one."""
    pages = _Pages(clock, wishes, links, signer)

    async def show(request: Request) -> Response:
        return await _answered(request, partial(pages.show, request))

    async def change(request: Request) -> Response:
        return await _answered(request, partial(pages.change, request, await _sent(request)))

    async def ask(request: Request) -> Response:
        return await _answered(request, partial(pages.ask, request))

    async def end(request: Request) -> Response:
        return await _answered(request, partial(pages.end, request, await _sent(request)))

    app.add_route("/p/{token}", show, methods=["GET"], include_in_schema=False)
    app.add_route("/p/{token}", change, methods=["POST"], include_in_schema=False)
    app.add_route("/u/{token}", ask, methods=["GET"], include_in_schema=False)
    app.add_route("/u/{token}", end, methods=["POST"], include_in_schema=False)


class _Pages:
    """Answers requests whose links are good; all else is raised."""

    def __init__(self, clock: Clock, wishes: UserPreferences, links: SignedLinks, signer: Signer) -> None:
        self._clock, self._wishes, self._links, self._signer = clock, wishes, links, signer
        self._buckets = Buckets()

    def show(self, request: Request) -> Response:
        shown = self._wishes.of(self._user(request))
        return _html(page.preferences(shown, _DONE.get(request.query_params.get("done", ""), "")))

    def change(self, request: Request, sent: Sequence[tuple[str, str]]) -> Response:
        user, fields = self._user(request), dict(sent)
        self._count("preferences", user)
        do = fields.get("do", "")
        if do in ("save", "nothing"):
            wanted = {_choice(value) for name, value in sent if name == "want"}
            self._wishes.choose(user, wanted if do == "save" else ())
        elif do in ("less", "usual"):
            self._wishes.less(user, fields.get("playbook", ""), usual=do == "usual")
        elif do in ("none", "again"):
            self._wishes.end_playbook(user, fields.get("playbook", ""), again=do == "again")
        else:
            raise PreferencesUnfit("it is not said what to do: use the buttons of the page")
        # To be looked at, so that a reload does nothing again.
        onward = f"{request.path_params['token']}?done={do}"
        return RedirectResponse(onward, HTTPStatus.SEE_OTHER, headers=page.HEADERS)

    def ask(self, request: Request) -> Response:
        ending = self._wishes.ending(self._key(request))
        return _html(page.unsubscribing(ending, self._elsewhere(ending)))

    def end(self, request: Request, sent: Sequence[tuple[str, str]]) -> Response:
        key = self._key(request)
        if _ONE_CLICK not in sent:
            raise PreferencesUnfit("the body must be `List-Unsubscribe=One-Click` (RFC 8058)")
        self._count("unsubscribe", key)
        ending = self._wishes.end(key)
        return _html(page.unsubscribed(ending, self._elsewhere(ending)))

    def _user(self, request: Request) -> str:
        token = self._signer.read(request.path_params["token"], Preferences)
        check(token.until, self._clock.now())
        return token.user_id

    def _key(self, request: Request) -> str:
        token = self._signer.read(request.path_params["token"], Unsubscribe)
        check(token.until, self._clock.now())
        return token.key

    def _elsewhere(self, ending: Ending) -> str:
        return self._links.preferences(ending.user_id, self._clock.now()) or ""

    def _count(self, what: str, whose: str) -> None:
        if not self._buckets.take(what, whose, _CHANGES):
            raise TooManyChanges("too many changes at once: try again in a minute")


async def _answered(request: Request, answer: Callable[[], Response]) -> Response:
    """Answer; people are told of what went wrong by a page, programs by a problem document."""
    try:
        return await run_in_threadpool(answer)
    except (LinkBroken, LinkExpired, PreferencesUnfit, TooManyChanges) as error:
        if "text/html" in request.headers.get("accept", ""):
            return _html(page.trouble(str(error)), error.status)
        raise


async def _sent(request: Request) -> Sequence[tuple[str, str]]:
    """Return the fields of a form, as browsers and mail programs send it (RFC 8058 allows both)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "multipart/form-data":
            async with request.form(max_files=0, max_fields=_MAX_FIELDS) as form:
                return [
                    (name, value) for name, value in form.multi_items() if not isinstance(value, UploadFile)
                ]
        text = (await request.body()).decode("utf-8", "replace")
        return parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except (HTTPException, ValueError, KeyError) as error:
        raise PreferencesUnfit("the body can't be read as a form") from error


def _choice(value: str) -> tuple[str, Channel]:
    purpose, _, channel = value.partition(":")
    try:
        return purpose, Channel(channel)
    except ValueError:
        raise PreferencesUnfit(f"nothing is called {value[:64]!r}: use the boxes of the page") from None


def _html(text: str, status: int = HTTPStatus.OK) -> Response:
    return HTMLResponse(text, status, headers=page.HEADERS)
