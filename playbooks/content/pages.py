"""Contents that are pages of HTML."""

from __future__ import annotations


def is_html(body: str) -> bool:
    """Whether a text is a page of HTML."""
    begins = body.lstrip()[:20].lower()
    return begins.startswith(("<!doctype html", "<html"))
