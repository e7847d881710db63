"""Proves at start-up that the direct way into the online store equals Feast's SDK."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from feature_repo.aggregates import FeatureType, ViewSpec
from feature_repo.disk import is_trouble
from feature_repo.errors import LayoutMismatch
from feature_repo.online import OnlineRow, ProvenAccess, SdkAccess, view_table
from feature_repo.snapshots import ARROW_TYPES, EVENT_TIMESTAMP
from feature_repo.specs import Specs

# Users that exist only while the proof runs: one with values, one with nulls only, one nowhere.
FULL, EMPTY, NOBODY = "nextplay:proof:full", "nextplay:proof:empty", "nextplay:proof:nobody"
MOMENT = datetime(2024, 2, 29, 12, 34, 56, tzinfo=UTC)
SAMPLES: dict[FeatureType, Any] = {
    "int": -42,
    "float": -0.1,
    "text": "größer | 50-74K",
    "bool": True,
    "time": datetime(2023, 12, 31, 23, 59, 59, tzinfo=UTC),
    "floats": [0.0, 1.5, -2.25, 0.1],
}


def prove(direct: ProvenAccess, sdk: SdkAccess, specs: Specs) -> None:
    """Write and read probe rows both ways and compare.

    Raises LayoutMismatch naming the view that differs; the probes are removed in any case. What a disk
    refuses proves nothing and is raised as it is.
    """
    probes = {view.name: _probe(view) for view in specs.views.values() if view.of_users}
    try:
        sdk.write(probes)
        by_sdk = {view: [direct.stored(view, key) for key in (FULL, EMPTY)] for view in probes}
        _compare_reads(direct, sdk, specs)
        for view in probes:
            direct.remove(view, (FULL, EMPTY))
        direct.write(probes)
        for view, rows in by_sdk.items():
            if rows != [direct.stored(view, key) for key in (FULL, EMPTY)]:
                raise LayoutMismatch(f"rows of view '{view}' differ from those Feast's SDK writes")
        _compare_reads(direct, sdk, specs)
    except (sqlite3.Error, struct.error, LookupError, ValueError, OverflowError) as error:
        raise _mismatch(error) from error
    finally:
        _remove(direct, probes)


def _probe(view: ViewSpec) -> pa.Table:
    full = {view.key: FULL, EVENT_TIMESTAMP: MOMENT, **{f.name: SAMPLES[f.type] for f in view.features}}
    empty = {view.key: EMPTY, EVENT_TIMESTAMP: MOMENT}
    return view_table(view, [full, empty], ARROW_TYPES)


def _compare_reads(direct: ProvenAccess, sdk: SdkAccess, specs: Specs) -> None:
    users = (FULL, EMPTY, NOBODY)
    # A year later every value with a ttl is stale.
    for now in (MOMENT, MOMENT + timedelta(days=366)):
        for service in specs.services:
            pairs = zip(direct.read(service, users, now), sdk.read(service, users, now), strict=True)
            if not all(same(a, b) for a, b in pairs):
                raise LayoutMismatch(f"service '{service}' reads otherwise than through Feast's SDK")


def same(a: OnlineRow, b: OnlineRow) -> bool:
    """Whether two rows are equal, arrays by their elements."""
    if a[1:] != b[1:] or a.values.keys() != b.values.keys():
        return False
    for name, value in a.values.items():
        other = b.values[name]
        if type(value) is not type(other):
            return False
        if not (np.array_equal(value, other) if isinstance(value, np.ndarray) else value == other):
            return False
    return True


def _remove(direct: ProvenAccess, probes: Mapping[str, pa.Table]) -> None:
    try:
        for view in probes:
            direct.remove(view, (FULL, EMPTY))
    except sqlite3.Error as error:
        raise _mismatch(error) from error


def _mismatch(error: Exception) -> Exception:
    if is_trouble(error):
        return error
    return LayoutMismatch(f"the online store is not laid out as expected: {error!r}")
