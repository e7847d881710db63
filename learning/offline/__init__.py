"""Policies learnt from logs of rounds, offline: trained, judged on rounds held out, chosen from a grid."""

from __future__ import annotations

from learning.offline.ledger import train_on_ledger
from learning.offline.reading import is_ledger, read_rounds
from learning.offline.rounds import LoggedRounds
from learning.offline.train import Judged, Trained, train, trained_version
from learning.offline.tune import Tuned, read_grid, tune

__all__ = [
    "Judged",
    "LoggedRounds",
    "Trained",
    "Tuned",
    "is_ledger",
    "read_grid",
    "read_rounds",
    "train",
    "train_on_ledger",
    "trained_version",
    "tune",
]
