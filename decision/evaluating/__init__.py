"""Evaluations at the front door: the command, the route, and how they are read."""
