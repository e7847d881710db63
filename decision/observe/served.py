"""Checks of what is served: the library's files, and the service itself where it runs."""

from __future__ import annotations

import math
import socket

import httpx2

from decision.files import read_files
from decision.observe.findings import Finding, Subject, fail, ok, warn
from feature_repo.windows import DAY_US
from storage.ledger import Kind
from storage.retention import retention_of

_SECONDS = 5
# A route that a key of the scope operate may read.
_ASKED = "/metrics"
# Names of features that are told.
_SHOWN = 5
# What features are computed from.
_EVENTS = (Kind.EVENT, Kind.PAST_EVENT)


def library(subject: Subject) -> Finding:
    """The files of the library, the audiences and the policy fit together."""
    files = read_files(subject.settings.library_folder)
    return ok(
        f"{_many(len(files.draft.playbooks), 'playbook')}, "
        f"{_many(len(files.definitions.audiences), 'audience')}, policy {files.policy.id}"
    )


def retention(subject: Subject) -> Finding:
    """No feature looks further back than the events it is computed from are kept."""
    kept = retention_of(subject.settings.retention)
    days = min((kept[kind] or math.inf for kind in _EVENTS if kind in kept), default=math.inf)
    if math.isinf(days):
        return ok("events are kept for ever")
    views = read_files(subject.settings.library_folder).specs.views.values()
    short = [
        feature.name
        for view in views
        for feature in view.features
        if feature.window is not None and feature.window.microseconds > days * DAY_US
    ]
    if not short:
        return ok(f"events are kept for {_many(days, 'day')}, and no feature's window is longer")
    return warn(
        f"events are kept for {_many(days, 'day')}, and windows of features are longer: {_some(short)}",
        "once they are computed anew, after a change of the library, those count too little: keep events "
        "longer (NEXTPLAY_RETENTION), or let the windows be shorter",
    )


def port(subject: Subject) -> Finding:
    """The port is free, or nextplay answers there and is ready."""
    if subject.url is not None:
        return _ready(subject.url)
    host, number = subject.settings.host, subject.settings.port
    try:
        socket.create_connection((host, number), timeout=_SECONDS).close()
    except ConnectionRefusedError:
        return ok(f"{host}:{number} is free")
    except OSError as error:
        return fail(f"{host}:{number} can't be asked: {error}", "check --host, or NEXTPLAY_HOST")
    return _ready(f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}")


def key(subject: Subject) -> Finding:
    """The key opens what an operator needs."""
    if subject.url is None or subject.key is None:
        return ok("not asked for; give --url and --key to try one")
    headers = {"Authorization": f"Bearer {subject.key}"}
    try:
        answer = httpx2.get(subject.url.rstrip("/") + _ASKED, headers=headers, timeout=_SECONDS)
    except httpx2.HTTPError as error:
        return fail(f"{subject.url} does not answer: {error}", "check --url, and that the service runs")
    if answer.status_code == httpx2.codes.OK:
        return ok("it is taken")
    if answer.status_code == httpx2.codes.FORBIDDEN:
        return warn("it is known but lacks the scope operate", "create one with `nextplay keys create`")
    return fail(f"it is refused ({answer.status_code})", "is it complete, of this service, and not expired?")


def _many(number: float, what: str) -> str:
    return f"{number:g} {what}" + ("s" if number != 1 else "")


def _some(names: list[str]) -> str:
    shown, more = names[:_SHOWN], len(names) - _SHOWN
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _ready(url: str) -> Finding:
    try:
        answer = httpx2.get(url.rstrip("/") + "/ready", timeout=_SECONDS)
        said = answer.json()
        policy, detail = said.get("policy"), said.get("detail")
    except httpx2.HTTPError as error:
        return fail(
            f"nothing answers HTTP at {url}: {error}", "start the service, or name another --url or --port"
        )
    except (ValueError, AttributeError):
        return fail(f"something that is not nextplay answers at {url}", "stop it, or take another --port")
    if answer.status_code == httpx2.codes.OK:
        return ok(f"nextplay serves {policy} at {url}")
    return fail(f"nextplay at {url} is not ready: {detail}", "see its log")
