"""Audiences: what they are, who is in them, and how that is found out and kept."""
