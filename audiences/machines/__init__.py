"""Machines: mail scanners, link pre-fetchers and crawlers, whose events are kept apart from people's."""
