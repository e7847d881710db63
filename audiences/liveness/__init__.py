"""Liveness: whether each source of events sends what it usually sends."""
