"""Guards and costs: what a file says anew holds, and what was changed in flight: the later of both."""

from __future__ import annotations

from playbooks.guards import LoyalGuard
from playbooks.shaping import CurrentShaping, Shaping, holds_with, keep_shaping, read_file, shaping_of
from storage import ledger
from storage.clock import SimulatedClock
from storage.engine import Database
from storage.ledger import Kind

CHEAP, DEAR = Shaping(costs={"EUR": 0.1}), Shaping(costs={"EUR": 0.2})
GUARDED = Shaping(guards=[LoyalGuard(loyal="gold", newer="new")], costs={"EUR": 0.2})


def test_the_file_and_what_is_changed_in_flight(database: Database, clock: SimulatedClock) -> None:
    current, now = CurrentShaping(), clock.now()

    def start(said: Shaping) -> Shaping:
        with database.read() as connection:
            foreseen = holds_with(connection, said)
        held = database.write(lambda connection: read_file(connection, said, now))
        assert held == foreseen
        with database.read() as connection:
            assert current.of(connection) == held
        return held

    assert start(Shaping()) == Shaping()
    with database.read() as connection:
        assert shaping_of(connection) == (0, Shaping())
    assert start(CHEAP) == CHEAP
    assert database.write(lambda connection: keep_shaping(connection, GUARDED, "bob", now, "a test")) == 2
    # The file says what it said before: what bob said goes on. Saying it again makes no version.
    assert start(CHEAP) == GUARDED
    assert database.write(lambda connection: keep_shaping(connection, GUARDED, "bob", now, "")) == 2
    assert start(DEAR) == DEAR
    assert start(CHEAP) == CHEAP
    assert start(Shaping()) == Shaping()
    with database.read() as connection:
        assert shaping_of(connection)[0] == 5
        bodies = [one.decode(dict) for one in ledger.latest(connection, Kind.CHANGE, 10)]
    # What files say is told where all of them are compared; bob's change of both is told here.
    assert [(one["id"], one["before"], one["definition"], one["by"], one["why"]) for one in bodies] == [
        ("costs", {"EUR": 0.1}, {"EUR": 0.2}, "bob", "a test"),
        ("guards", [], [{"loyal": "gold", "newer": "new"}], "bob", "a test"),
    ]
