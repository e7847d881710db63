"""The shop that benchmarks measure in: its backlog keeps executor and learner at work, step by step."""

from __future__ import annotations

from pathlib import Path

from benchmarks.shop import NOW, PLACEMENT, ROUND, STEP, Backlog, opened_shop, pile_up, users
from storage.clock import SimulatedClock


def test_every_step_gives_executor_and_learner_their_part(tmp_path: Path) -> None:
    asked = users(20)
    with opened_shop(tmp_path / "data", len(asked)) as service:
        assert service.decider.decide(asked[0], PLACEMENT).fallback is None
        pile_up(service, Backlog(enrolments=100, steps=12, decisions_a_step=5), asked)
        service.jobs.run("deliver")
        assert isinstance(service.clock, SimulatedClock)
        for step in range(1, 13):
            service.clock.move_to(NOW + step * STEP)
            assert service.jobs.run("deliver")["done"]["advanced"] == 100 / ROUND
            assert service.jobs.run("reward")["matured"] == 5
        assert service.jobs.run("learn")["trained"] == 60
