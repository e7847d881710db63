"""The shop that benchmarks measure in: its backlog keeps executor and learner at work, step by step."""

from __future__ import annotations

from pathlib import Path

from benchmarks.shop import DAY, NOW, PLACEMENT, ROUND, STEP, Backlog, opened_shop, pile_up, users
from storage.clock import SimulatedClock


def test_every_step_gives_the_executor_its_part_and_every_day_the_learner(tmp_path: Path) -> None:
    asked = users(20)
    with opened_shop(tmp_path / "data", len(asked)) as service:
        assert service.decider.decide(asked[0], PLACEMENT).fallback is None
        pile_up(service, Backlog(enrolments=100, days=3, decisions_a_day=20), asked)
        service.jobs.run("deliver")
        assert isinstance(service.clock, SimulatedClock)
        for step in range(1, 13):
            service.clock.move_to(NOW + step * STEP)
            assert service.jobs.run("deliver")["done"]["advanced"] == 100 / ROUND
        assert service.jobs.run("reward")["matured"] == 0
        for day in range(1, 4):
            service.clock.move_to(NOW + day * DAY)
            assert service.jobs.run("reward")["matured"] == 20
        assert service.jobs.run("learn")["trained"] == 60
