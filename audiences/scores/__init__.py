"""Scores: points for what users do and are, which fade; thresholds make grades, sales answers hand-overs."""
