"""Stages: where users stand in a lifecycle, a small state machine whose transitions are rules and facts."""
