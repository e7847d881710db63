"""Triggers: what happens, comes to a date, or is asked for starts something for a user, once per cause."""
