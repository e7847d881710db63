"""From ledger rows to a published version, beside VW's own driver on the equivalent text."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import psutil
from sqlalchemy import Connection

from benchmarks.benchmark import Benchmark, Bound, Pair, Say
from benchmarks.errors import BenchmarkError
from learning.features import FeatureSet
from learning.models import model_from_bytes
from learning.repository import REWARD_LABEL
from learning.rewards import Reward
from learning.rows import FloatArray, Rows
from learning.spec import PolicySpec
from learning.training import Training
from learning.versions import PolicyVersion, cold_start
from learning.vw_format import NAMESPACE, escaped
from playbooks.content.documents import Content
from playbooks.flow import End, Flow
from playbooks.goal_documents import Goal
from playbooks.library import Draft, Library
from playbooks.library.importing import import_library
from playbooks.library.loading import Loader
from playbooks.matching import Request, Snapshot, decide
from playbooks.models import DO_NOTHING, Arm, Playbook, VariantSet
from playbooks.offers import Offer
from storage import ledger
from storage.engine import Database
from storage.ids import new_id
from storage.ledger import Kind, NewFact

SEED = 1
REPEATS = 3
DECISIONS = 10_000
HELD_OUT = 3_000
CATEGORIES = [f"c{place:02}" for place in range(40)]
NOW = datetime(2026, 3, 2, tzinfo=UTC)
_PIECE = 500
_OPTIONS = ("--cb_adf", "--cb_type", "mtr", "-b", "18", "--quiet")
# What the driver's own process does: its times are without starting Python.
_DRIVER = """
import sys, time
from vowpal_wabbit_next import run_cli_driver
before = time.process_time(), time.perf_counter()
run_cli_driver(sys.argv[1:])
print(time.process_time() - before[0], time.perf_counter() - before[1])
"""
_SPEC = {
    "id": "next_category",
    "placements": ["outbound"],
    "features": [
        {"name": "rate", "from": "category_rate", "at": "arm.category", "transform": ["raw", "sqrt"]},
        {"name": "lately", "from": "category_lately", "at": "arm.category"},
        {"scalar": "orders_4w", "transform": ["log1p"], "cap": 50},
        {"one_hot": "arm.category"},
    ],
    "learner": {"kind": "vw"},
    "exploration": {
        "kind": "epsilon_greedy",
        "epsilon": {"start": 1.0, "floor": 1.0, "half_life": 1000},
    },
}


class _Nobody:
    def of(self, audience: str | None) -> int | None:
        return None


@dataclass(frozen=True, slots=True, eq=False)
class Shop:
    """Users, what each category is worth to them, and the ledger of what was decided."""

    database: Database
    spec: PolicySpec
    library: Library
    rates: FloatArray
    lately: FloatArray
    orders: FloatArray
    # The chance that a user buys in a category.
    chances: FloatArray
    # Of each decision, in turn: the arm, its propensity, and what it brought.
    drawn: list[tuple[str, float, float]] = field(default_factory=list)

    def features(self, user: int) -> dict[str, object]:
        return {
            "category_rate": self.rates[user].tolist(),
            "category_lately": self.lately[user].tolist(),
            "orders_4w": float(self.orders[user]),
        }

    @property
    def arms(self) -> list[Arm]:
        return sorted(self.library.arms.values(), key=lambda arm: arm.attributes["category"])


def throughput(folder: Path, say: Say) -> Sequence[Pair]:
    """Return events a second of processor time: ours, from the ledger to a published version, and VW's."""
    say(f"seed {SEED}, {DECISIONS:,} decisions of {len(CATEGORIES)} arms each")
    with opened_shop(folder) as shop:
        text = _written(shop, folder / "train.txt", range(DECISIONS), labelled=True)
        return [
            Pair(DECISIONS / _ours(shop, repeat)[0], DECISIONS / _driver(text, folder / "native.model"))
            for repeat in range(REPEATS)
        ]


def held_out(folder: Path, say: Say) -> Sequence[Pair]:
    """Return what is earned a round by the best arm of ours, and of VW's, on rounds nobody learnt from.

    The floor is less by one standard error of the difference.
    """
    with opened_shop(folder) as shop:
        users = range(DECISIONS, DECISIONS + HELD_OUT)
        model, told = folder / "native.model", folder / "native.told"
        _driver(_written(shop, folder / "train.txt", range(DECISIONS), labelled=True), model)
        test = _written(shop, folder / "test.txt", users, labelled=False)
        _vw("-t", "-i", str(model), "-d", str(test), "-p", str(told), "--quiet")
        theirs = shop.chances[users, _best_told(told)]
        _, version = _ours(shop, 0)
        ours = shop.chances[users, _best(shop, version, users)]
        error = float((ours - theirs).std() / np.sqrt(HELD_OUT))
        say(f"ours {ours.mean():.4f}, VW's {theirs.mean():.4f}, standard error {error:.4f}")
        return [Pair(float(ours.mean()), float(theirs.mean()) - error)] * 2


def _ours(shop: Shop, repeat: int) -> tuple[float, PolicyVersion]:
    """Return the seconds of processor time, VW's process included, and the version that was published."""
    training = Training(
        shop.database,
        shop.spec.model_copy(update={"id": f"p{repeat}_{time.monotonic_ns()}"}),
        vocabularies(),
    )
    try:
        training.in_charge(NOW)
        learner = training.learner
        if learner is None:
            raise BenchmarkError("the policy learns nothing; the measurement is void")
        # Processes start with the first rewards, and once.
        learner.fold(None, _nothing(shop))
        before = _seconds()
        version = training.learn(NOW + timedelta(days=1))
        seconds = _seconds() - before
    finally:
        training.close()
    drawn = version.trained
    if drawn < 0.9 * DECISIONS:
        raise BenchmarkError(
            f"only {drawn} of {DECISIONS} decisions were learnt from; the measurement is void"
        )
    return seconds, version


def _nothing(shop: Shop) -> Rows:
    columns = len(FeatureSet(shop.spec.features, vocabularies()).names)
    return Rows(np.zeros((0, columns)), np.zeros(0), np.zeros(0), np.zeros(0))


def _seconds() -> float:
    """Return the processor time of this process and those it started."""
    here = psutil.Process()
    return sum(
        times.user + times.system
        for times in (one.cpu_times() for one in (here, *here.children(recursive=True)))
    )


def _driver(text: Path, model: Path) -> float:
    """Return the seconds of processor time in which VW's own driver learns a text."""
    return _vw(*_OPTIONS, "-d", str(text), "-f", str(model))


def _vw(*options: str) -> float:
    ran = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", _DRIVER, *options], capture_output=True, text=True, check=True
    )
    return float(ran.stdout.split()[0])


def _best_told(told: Path) -> list[int]:
    """Return of each round the arm of the least cost, which VW's predictions name first."""
    return [int(line.split(":", 1)[0]) for line in told.read_text().splitlines() if line]


def _best(shop: Shop, version: PolicyVersion, users: Sequence[int]) -> list[int]:
    features, model = FeatureSet(shop.spec.features, vocabularies()), model_from_bytes(version.model)
    return [int(model.predict(features.matrix(shop.features(user), shop.arms)).argmax()) for user in users]


@contextmanager
def opened_shop(folder: Path, decisions: int = DECISIONS) -> Iterator[Shop]:
    """Decide for each user once, and record what was decided and what it brought."""
    rng = np.random.default_rng(SEED)
    size = (decisions + HELD_OUT, len(CATEGORIES))
    rates = rng.beta(0.4, 3.0, size)
    lately = (rng.random(size) < rates).astype(np.float64)
    database = Database(f"sqlite:///{folder / 'learner.db'}")
    try:
        library = database.write(_published)
        spec = PolicySpec.model_validate(_SPEC)
        orders = rng.poisson(3, len(rates)).astype(np.float64)
        chances = np.clip(0.6 * np.sqrt(rates) + 0.3 * lately, 0.0, 1.0)
        shop = Shop(database, spec, library, rates, lately, orders, chances)
        policy = cold_start(spec, vocabularies(), NOW, after=None).serve()
        snapshot = Snapshot(library, policy, seed="bench")
        uniform = rng.random(decisions)
        for start in range(0, decisions, _PIECE):
            database.write(
                partial(_record, shop, snapshot, uniform, range(start, start + _PIECE)), rows=_PIECE
            )
        yield shop
    finally:
        database.close()


def _record(
    shop: Shop, snapshot: Snapshot, uniform: FloatArray, users: Sequence[int], connection: Connection
) -> None:
    new = []
    place = {name: at for at, name in enumerate(CATEGORIES)}
    for user in users:
        decision = decide(
            snapshot,
            Request(new_id(NOW), f"u{user}", "outbound", "bench"),
            features=shop.features(user),
            audiences=frozenset(),
            now=NOW + timedelta(seconds=user),
        )
        value = 0.0
        if decision.acts:
            arm = shop.library.arms[decision.arm]
            value = float(uniform[user] < shop.chances[user, place[arm.attributes["category"]]])
        reward = Reward(
            decision_id=decision.decision_id,
            placement=decision.placement,
            policy=decision.policy,
            playbook=decision.playbook,
            arm=decision.arm,
            acts=decision.refused_by is None,
            decided_at=decision.decided_at,
            value=value,
            outcome=None,
        )
        moment = decision.decided_at
        new += [
            NewFact(Kind.DECISION, decision.decision_id, "outbound", decision.user_id, moment, decision),
            NewFact(Kind.REWARD, decision.decision_id, REWARD_LABEL, decision.user_id, moment, reward),
        ]
        shop.drawn.append((decision.arm, decision.propensity, value))
    ledger.append(connection, new, NOW)


def _written(shop: Shop, path: Path, users: Sequence[int], *, labelled: bool) -> Path:
    """Write rounds as VW's text for `--cb_adf`: a line for each arm, with the columns of ours."""
    features = FeatureSet(shop.spec.features, vocabularies())
    names = [escaped(name) for name in features.names]
    arms = shop.arms
    with path.open("w", encoding="utf-8") as out:
        for user in users:
            drawn, propensity, value = shop.drawn[user] if labelled else ("", 1.0, 0.0)
            if drawn == DO_NOTHING:
                continue
            for arm, row in zip(arms, features.matrix(shop.features(user), arms).tolist(), strict=True):
                label = f"0:{-value:g}:{propensity:.9g} " if arm.id == drawn else ""
                told = " ".join(f"{name}:{one:.9g}" for name, one in zip(names, row, strict=True) if one)
                out.write(f"{label}|{NAMESPACE} {told}\n")
            out.write("\n")
    return path


def _published(connection: Connection) -> Library:
    offers = [
        Offer(id=name, name=name, attributes={"group": "category", "category": name}) for name in CATEGORIES
    ]
    playbook = Playbook(
        id="everyone",
        name="everyone",
        placement="outbound",
        goal=Goal(event="order_completed", window=timedelta(days=14)),
        variants=[VariantSet(group="category", channel="mailbox", content="notice")],
        flow=Flow(start="over", states={"over": End(kind="end", result="over")}),
    )
    content = Content(id="notice", subject="s", body="b")
    draft = Draft((playbook,), {offer.id: offer for offer in offers}, {content.id: content})
    import_library(connection, draft, _Nobody(), by="bench", source="api", now=NOW, publish=True)
    return Loader().load(connection)


def vocabularies() -> dict[str, list[str]]:
    return {"category": CATEGORIES}


LEARNER_THROUGHPUT = Benchmark(
    name="learner_throughput",
    measures="Decisions of 40 arms learnt by VW a second of processor time, from rows of the ledger to a "
    "published version.",
    against="VW's own driver on the same decisions written as its text for `--cb_adf`.",
    unit="decisions/s",
    bound=Bound("ratio", ">=", 0.7),
    run=throughput,
)
LEARNER_HELD_OUT = Benchmark(
    name="learner_held_out",
    measures="What the arm that the published version scores best earns a round, on rounds held out.",
    against="The same of what VW's own driver learnt, less one standard error of the difference.",
    unit="reward",
    bound=Bound("ratio", ">=", 1.0),
    run=held_out,
)
