"""The optimisation log at the front door: read, and taken back."""
