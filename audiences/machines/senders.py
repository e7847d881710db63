"""Tells from what an event says of its sender whether that is a machine: user agent, address, purpose."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import crawleruseragents

from audiences.machines.definitions import MachinesSpec, Network

# The list of crawlers also names what stands between people and a site. Gmail, Yahoo and Fastmail fetch the
# images of a mail through a machine of theirs when somebody opens it; apps on Android speak through okhttp;
# people read in the browser inside Facebook's app.
_PEOPLE = ("GoogleImageProxy", "YahooMailProxy", "FastmailUA", "okhttp", "MetaIAB")
# Barracuda's mail gateway follows links under this name.
_SCANNERS = ("Barracuda Sentinel",)
# What is longer is no agent of a browser; the end of it tells nothing.
_LONGEST_AGENT = 512
_CACHED = 8_192

# Headers by which browsers and mail clients say that nobody asked for what they fetch, and the words in them:
# Sec-Purpose (Fetch standard and "prerendering revamped"), Purpose and X-Purpose of older WebKit, X-Moz of
# older Firefox.
_HEADERS = frozenset({"sec-purpose", "purpose", "x-purpose", "x-moz"})
_AHEAD = ("prefetch", "prerender", "preview")


class Senders:
    """What machines say of themselves."""

    def __init__(self, spec: MachinesSpec) -> None:
        people, agents = _any_of([*_PEOPLE, *spec.people]), _any_of([*_SCANNERS, *spec.agents])
        networks: Sequence[Network] = [ipaddress.ip_network(one) for one in spec.networks]

        @lru_cache(maxsize=_CACHED)
        def is_agent(agent: str) -> bool:
            if people.search(agent):
                return False
            return agents.search(agent) is not None or crawleruseragents.is_crawler(agent)

        @lru_cache(maxsize=_CACHED)
        def is_address(text: str) -> bool:
            try:
                address = ipaddress.ip_address(text.strip())
            except ValueError:
                return False
            return any(address in network for network in networks)

        self._is_agent = is_agent
        self._is_address = is_address

    def is_agent(self, agent: Any) -> bool:
        """Whether a user agent is one of a machine."""
        return isinstance(agent, str) and bool(agent) and self._is_agent(agent[:_LONGEST_AGENT])

    def is_address(self, address: Any) -> bool:
        """Whether an IP address is one of a machine."""
        return isinstance(address, str) and bool(address) and self._is_address(address[:64])


def fetched_ahead(context: Mapping[str, Any]) -> bool:
    """Whether a sender says that nobody asked for what it fetched: in `purpose`, or among its `headers`."""
    if _says_ahead(context.get("purpose")):
        return True
    headers = context.get("headers")
    return isinstance(headers, Mapping) and any(
        isinstance(name, str) and name.lower() in _HEADERS and _says_ahead(value)
        for name, value in headers.items()
    )


def _says_ahead(value: Any) -> bool:
    return isinstance(value, str) and any(word in value.lower() for word in _AHEAD)


def _any_of(patterns: Sequence[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{one})" for one in patterns))
