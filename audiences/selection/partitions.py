"""Rules answered past one machine: users in partitions of Ray Data, each answered where it lies."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from audiences.rules import Columns, Rule, compile_columns
from audiences.rules.columns import Bits
from audiences.rules.joining import cut
from audiences.selection.evaluation import Answers, locally

# Users of a partition, a multiple of 8 so that bytes of bits stay whole.
PARTITION = 1 << 20
# The address that means a Ray of this process's own.
LOCAL = "local"


def over_ray(address: str, partition: int = PARTITION) -> Answers:
    """Answer rules on the Ray cluster at an address; `local` starts one here, when first asked."""

    def answers(rules: Sequence[Rule], columns: Columns, now: datetime) -> Bits:
        import ray  # noqa: PLC0415 - seconds, for those who configure it
        import ray.data  # noqa: PLC0415

        if not columns.length:
            return locally(1)(rules, columns, now)
        if not ray.is_initialized():
            ray.init(
                address=None if address == LOCAL else address,
                include_dashboard=False if address == LOCAL else None,
                log_to_driver=False,
            )
        starts = range(0, columns.length, partition)
        cuts = (cut(columns, start, min(start + partition, columns.length)) for start in starts)
        shares = [{"place": place, "columns": pickle.dumps(one)} for place, one in enumerate(cuts)]
        dataset = ray.data.from_items(shares, override_num_blocks=len(shares))
        answered = dataset.map(_answered, fn_kwargs={"rules": pickle.dumps(list(rules)), "now": now})
        found = sorted(answered.iter_rows(), key=lambda row: int(row["place"]))
        return np.concatenate(
            [np.frombuffer(row["bits"], np.uint8).reshape(len(rules), -1) for row in found], axis=1
        )

    return answers


def _answered(row: dict[str, Any], rules: bytes, now: datetime) -> dict[str, Any]:
    # Both were pickled by the process that asks.
    columns: Columns = pickle.loads(row["columns"])  # noqa: S301
    bits = compile_columns(pickle.loads(rules))(columns, now=now)  # noqa: S301
    return {"place": row["place"], "bits": bits.tobytes()}
