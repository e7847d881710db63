"""All benchmarks, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.append_latency import APPEND_LATENCY
from benchmarks.audience_changes import AUDIENCE_BITMAPS, AUDIENCE_CHANGES
from benchmarks.benchmark import Benchmark
from benchmarks.budget_exact import BUDGET_EXACT_POSTGRES, BUDGET_EXACT_SQLITE, BUDGET_EXACT_VALKEY
from benchmarks.coupon_redemption import COUPON_REDEMPTION_POSTGRES, COUPON_REDEMPTION_SQLITE
from benchmarks.coverage import COVERAGE_DEMO, COVERAGE_MARKET
from benchmarks.decide_batch import DECIDE_BATCH
from benchmarks.decide_capacity import DECIDE_CAPACITY, DECIDE_CAPACITY_EMBEDDED, DECIDE_LATENCY
from benchmarks.decide_in_process import DECIDE_IN_PROCESS
from benchmarks.decide_latency_busy import DECIDE_LATENCY_BUSY
from benchmarks.decide_library_growth import DECIDE_LIBRARY_GROWTH
from benchmarks.decide_scores import DECIDE_SCORES
from benchmarks.durable_appends import DURABLE_APPENDS
from benchmarks.errors import UnknownBenchmark
from benchmarks.estimators import ESTIMATORS
from benchmarks.executor_transitions import EXECUTOR_POSTGRES, EXECUTOR_SQLITE
from benchmarks.executor_waiting import EXECUTOR_WAITING_POSTGRES, EXECUTOR_WAITING_SQLITE
from benchmarks.handover_gateway import HANDOVER_GATEWAY
from benchmarks.ingest_http import INGEST_HTTP
from benchmarks.ingest_to_decide import INGEST_TO_DECIDE
from benchmarks.learner_shards import LEARNER_SHARDS
from benchmarks.learner_throughput import LEARNER_HELD_OUT, LEARNER_THROUGHPUT
from benchmarks.library_import import LIBRARY_IMPORT
from benchmarks.load_generator import LOAD_GENERATOR
from benchmarks.market_face_values import MARKET_FACE_VALUES
from benchmarks.online_store import FEATURE_READ_SQLITE, FEATURE_READ_VALKEY, MATERIALISE_VALKEY
from benchmarks.ope_coverage import OPE_COVERAGE, OPE_WIDTH
from benchmarks.ope_sequence import OPE_FALSE_ALARMS, OPE_SEQUENCE
from benchmarks.ope_speed import OPE_SPEED
from benchmarks.promotion import (
    PROMOTION_NOT_TIMID,
    PROMOTION_REACH,
    PROMOTION_SAFE,
    PROMOTION_SAFE_HARD,
)
from benchmarks.rehearse_million import REHEARSE_MILLION
from benchmarks.rules_columns import RULES_COLUMNS, RULES_COLUMNS_IDS, RULES_INCREMENTAL
from benchmarks.rules_memory import RULES_MEMORY
from benchmarks.rules_one_user import RULES_ONE_USER
from benchmarks.simulate_tables import SIMULATE_DIGITS, SIMULATE_DIGITS_MARGIN, SIMULATE_SMALL_SETS
from benchmarks.slow_provider import SLOW_PROVIDER_MEMORY, SLOW_PROVIDER_OTHERS
from benchmarks.small_request import SMALL_REQUEST
from benchmarks.trigger_to_channel import TRIGGER_TO_CHANNEL

_ALL = (
    LOAD_GENERATOR,
    DURABLE_APPENDS,
    APPEND_LATENCY,
    SMALL_REQUEST,
    INGEST_HTTP,
    INGEST_TO_DECIDE,
    DECIDE_CAPACITY,
    DECIDE_CAPACITY_EMBEDDED,
    DECIDE_LATENCY,
    DECIDE_LATENCY_BUSY,
    DECIDE_IN_PROCESS,
    DECIDE_LIBRARY_GROWTH,
    BUDGET_EXACT_SQLITE,
    BUDGET_EXACT_POSTGRES,
    BUDGET_EXACT_VALKEY,
    COUPON_REDEMPTION_SQLITE,
    COUPON_REDEMPTION_POSTGRES,
    DECIDE_BATCH,
    DECIDE_SCORES,
    EXECUTOR_SQLITE,
    EXECUTOR_POSTGRES,
    EXECUTOR_WAITING_SQLITE,
    EXECUTOR_WAITING_POSTGRES,
    TRIGGER_TO_CHANNEL,
    RULES_ONE_USER,
    RULES_COLUMNS,
    RULES_COLUMNS_IDS,
    RULES_INCREMENTAL,
    RULES_MEMORY,
    AUDIENCE_BITMAPS,
    AUDIENCE_CHANGES,
    HANDOVER_GATEWAY,
    SLOW_PROVIDER_MEMORY,
    SLOW_PROVIDER_OTHERS,
    LIBRARY_IMPORT,
    REHEARSE_MILLION,
    FEATURE_READ_SQLITE,
    FEATURE_READ_VALKEY,
    MATERIALISE_VALKEY,
    ESTIMATORS,
    OPE_SPEED,
    OPE_COVERAGE,
    OPE_WIDTH,
    OPE_SEQUENCE,
    OPE_FALSE_ALARMS,
    PROMOTION_SAFE,
    PROMOTION_SAFE_HARD,
    PROMOTION_NOT_TIMID,
    PROMOTION_REACH,
    COVERAGE_DEMO,
    COVERAGE_MARKET,
    LEARNER_THROUGHPUT,
    LEARNER_HELD_OUT,
    LEARNER_SHARDS,
    SIMULATE_DIGITS,
    SIMULATE_DIGITS_MARGIN,
    SIMULATE_SMALL_SETS,
    MARKET_FACE_VALUES,
)
BENCHMARKS: Mapping[str, Benchmark] = {benchmark.name: benchmark for benchmark in _ALL}


def chosen(names: Sequence[str]) -> list[Benchmark]:
    """Return the benchmarks of these names, each once, in the registry's order; all when none is named.

    Raises:
        UnknownBenchmark: a name is not in the registry.
    """
    unknown = sorted(set(names) - set(BENCHMARKS))
    if unknown:
        raise UnknownBenchmark(
            f"there is no benchmark {', '.join(map(repr, unknown))}; there are {', '.join(BENCHMARKS)}"
        )
    return [benchmark for name, benchmark in BENCHMARKS.items() if not names or name in names]
