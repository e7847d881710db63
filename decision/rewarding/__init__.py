"""Rewards at the front door: what arms earned, what could not be counted, and judging again."""
