"""The reference of metrics names every metric there is, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path

from decision.observe import metrics, standing

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"


def test_the_reference_is_complete() -> None:
    counted = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in metrics.REGISTRY.collect()
        if family.name.startswith("nextplay_")
    }
    read = {name for _, families in standing._READERS for name, _, _ in families}
    documented = set(re.findall(r"^\| `(nextplay_\w+)` \|", REFERENCE.read_text(), re.MULTILINE))
    of_jobs = {"nextplay_jobs_alive", "nextplay_jobs_restarts_total"}
    assert documented == counted | read | of_jobs | {"nextplay_scrape_failures_total"}
