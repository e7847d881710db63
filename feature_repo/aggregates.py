"""Behaviour aggregates as data (`aggregates.yaml`): the documents, and the functions they may name.

    count              events, or elements of the list `each`
    count_events       events that have at least one such element
    distinct           different values of the column
    distinct_weeks     weeks (7-day bins counted back from T, the newest is 0) with at least one row
    sum mean min max   of the column
    last               latest value of the column that isn't null
    last_size          length of the list column in the latest event that has it
    last_time          when the latest row happened; first_time the earliest
    days_since_last    days (with fractions) from the latest row to T; days_since_first from the earliest
    weeks_since_last   whole weeks from the latest row to T, at most `cap`; `cap` itself if there is none
    share_of_users     users with a row in a period of `period_weeks`, as a share of all users known before T,
                       on average over the window's periods (only for an entity with one row)
    decayed_rate       rows a week, a week of k weeks before T weighing 2^(−k / half_life_weeks): the weighted
                       count of rows over the sum of the weights of all weeks that the history has

Without any row counts and sums are 0 and the others null.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from feature_repo.schema import Column, Name
from feature_repo.windows import Window, parse_window

Function = Literal[
    "count",
    "count_events",
    "distinct",
    "distinct_weeks",
    "sum",
    "mean",
    "min",
    "max",
    "last",
    "last_size",
    "last_time",
    "first_time",
    "days_since_last",
    "days_since_first",
    "weeks_since_last",
    "share_of_users",
    "decayed_rate",
]
FeatureType = Literal["int", "float", "text", "bool", "time", "floats"]

NUMBERS = ("int", "float")
COLUMN_TYPES: dict[Function, tuple[str, ...]] = {
    "distinct": ("text", "int", "float", "bool", "time"),
    "sum": NUMBERS,
    "mean": NUMBERS,
    "min": (*NUMBERS, "time"),
    "max": (*NUMBERS, "time"),
    "last": ("text", "int", "float", "bool", "time"),
    "last_size": ("list",),
}
RESULT_TYPES: dict[Function, FeatureType] = {
    "count": "int",
    "count_events": "int",
    "distinct": "int",
    "distinct_weeks": "int",
    "mean": "float",
    "last_size": "int",
    "last_time": "time",
    "first_time": "time",
    "days_since_last": "float",
    "days_since_first": "float",
    "weeks_since_last": "int",
    "share_of_users": "float",
    "decayed_rate": "float",
}
# An array holds no nulls, so only functions with a value for "nothing happened" may fill one.
FILLS_ARRAYS: frozenset[Function] = frozenset(
    {
        "count",
        "count_events",
        "distinct",
        "distinct_weeks",
        "sum",
        "weeks_since_last",
        "share_of_users",
        "decayed_rate",
    }
)
ADDITIVE: frozenset[Function] = frozenset({"count", "count_events", "distinct", "sum"})

# The key of users' accounts: their features are computed over the events of all users of an account.
ACCOUNT_KEY = "account_id"
# What names of their features begin with, in views, files and Feast; rules write a dot: account.orders_12w.
ACCOUNT_PREFIX = "account_"
# In a view of accounts a column of every event: whose it is.
USER_COLUMN = "user_id"

# Every event that has a history; only time and count make sense over them.
ANY_EVENT = "any"
ANY_EVENT_FUNCTIONS: frozenset[Function] = frozenset(
    {"count", "distinct_weeks", "last_time", "first_time", "days_since_last", "days_since_first"}
)


class Document(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Where(Document):
    """A condition on one column; a null never satisfies it."""

    column: Name
    compare: Literal["=", "!=", "<", "<=", ">", ">=", "in"] = Field(alias="is")
    value: bool | int | float | str | tuple[bool | int | float | str, ...]

    @model_validator(mode="after")
    def check_list(self) -> Self:
        if isinstance(self.value, tuple) != (self.compare == "in"):
            raise ValueError("a list of values goes with `is: in`, one value with any other")
        return self


class Measure(Document):
    """A function over the rows of a source, seen through a filter."""

    function: Function
    column: Name | None = None
    where: tuple[Where, ...] = ()
    cap: int | None = Field(default=None, ge=0)
    period_weeks: int | None = Field(default=None, ge=1)
    half_life_weeks: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def check_arguments(self) -> Self:
        if (self.column is not None) != (self.function in COLUMN_TYPES):
            needs = "needs" if self.function in COLUMN_TYPES else "takes no"
            raise ValueError(f"function '{self.function}' {needs} `column`")
        if self.cap is not None and self.function != "weeks_since_last":
            raise ValueError("`cap` goes with function 'weeks_since_last' only")
        if (self.period_weeks is not None) != (self.function == "share_of_users"):
            raise ValueError("`period_weeks` goes with function 'share_of_users', which needs it")
        if (self.half_life_weeks is not None) != (self.function == "decayed_rate"):
            raise ValueError("`half_life_weeks` goes with function 'decayed_rate', which needs it")
        return self


class Ratio(Document):
    """One measure divided by the sum of others; null where that sum is 0."""

    of: Measure
    to: list[Measure] = Field(min_length=1)

    @field_validator("of", "to")
    @classmethod
    def check_additive(cls, value: Measure | list[Measure]) -> Measure | list[Measure]:
        for measure in value if isinstance(value, list) else [value]:
            if measure.function not in ADDITIVE:
                raise ValueError(f"a ratio is made of {', '.join(sorted(ADDITIVE))}")
        return value


class By(Document):
    column: Name
    vocabulary: Name


class FeatureDocument(Document):
    """One line of a view: a measure or a ratio, over one or more windows."""

    name: Name
    function: Function | None = None
    column: Name | None = None
    where: tuple[Where, ...] = ()
    cap: int | None = None
    period_weeks: int | None = None
    half_life_weeks: float | None = None
    ratio: Ratio | None = None
    windows: list[int | str] = []
    event: Name | None = None
    each: Name | None = None
    by: By | None = None

    @field_validator("windows")
    @classmethod
    def check_windows(cls, windows: list[int | str]) -> list[int | str]:
        parsed = [parse_window(window) for window in windows]
        if len(set(parsed)) != len(parsed):
            raise ValueError("a window is named twice")
        return windows

    @model_validator(mode="after")
    def check_measure(self) -> Self:
        if (self.function is None) == (self.ratio is None):
            raise ValueError("a feature has either `function` or `ratio`")
        if self.ratio is not None and (self.column or self.where or self.cap is not None):
            raise ValueError("column, where and cap go inside the measures of the ratio")
        if self.function in ("distinct_weeks", "share_of_users") and not self.windows:
            raise ValueError(f"function '{self.function}' needs `windows`")
        if self.function == "decayed_rate" and self.windows:
            raise ValueError("function 'decayed_rate' sees all of the history and takes no `windows`")
        weeks = [window.weeks for window in self.parsed_windows()]
        if self.function in ("distinct_weeks", "share_of_users") and None in weeks:
            raise ValueError(f"function '{self.function}' counts weeks: its windows are whole weeks")
        if self.period_weeks and any((w or 0) % self.period_weeks for w in weeks):
            raise ValueError(f"every window must be a multiple of period_weeks ({self.period_weeks})")
        self.measures()
        return self

    def parsed_windows(self) -> list[Window]:
        """The windows, in order."""
        return [parse_window(window) for window in self.windows]

    def measures(self) -> list[Measure]:
        """The measures the feature is made of."""
        if self.ratio is not None:
            return [self.ratio.of, *self.ratio.to]
        assert self.function is not None  # noqa: S101 - check_measure saw to it
        return [
            Measure(
                function=self.function,
                column=self.column,
                where=self.where,
                cap=self.cap,
                period_weeks=self.period_weeks,
                half_life_weeks=self.half_life_weeks,
            )
        ]


class ViewDocument(Document):
    entity: Name
    ttl_days: int | None = Field(default=None, ge=1)
    event: Name
    each: Name | None = None
    by: By | None = None
    features: list[FeatureDocument] = Field(min_length=1)


class EntityDocument(Document):
    """A thing that has features; `only` names its single row where there is but one."""

    key: Name
    only: str | None = None


class AggregatesDocument(Document):
    entities: dict[Name, EntityDocument]
    views: dict[Name, ViewDocument]
    services: dict[Name, list[Name]]


class Source(NamedTuple):
    """What a feature's rows are: events of one name, or the elements of one of their lists."""

    event: str
    each: str | None


class FeatureSpec(NamedTuple):
    """One feature, resolved: its source, window and type."""

    name: str
    source: Source
    by: By | None
    window: Window | None
    measures: tuple[Measure, ...]
    is_ratio: bool
    type: FeatureType


class ViewSpec(NamedTuple):
    """One view, resolved: its entity, how long a value holds, and its features in order."""

    name: str
    entity: str
    key: str
    only: str | None
    ttl_days: int | None
    features: tuple[FeatureSpec, ...]

    @property
    def of_accounts(self) -> bool:
        """Whether it has a row for every account that users belong to."""
        return self.only is None and self.key == ACCOUNT_KEY

    @property
    def of_users(self) -> bool:
        """Whether it has a row for every user."""
        return self.only is None and self.key != ACCOUNT_KEY


def resolve_view(name: str, view: ViewDocument, entity: EntityDocument) -> ViewSpec:
    """Spread windows into features and let features inherit what the view says.

    Those of accounts are named `account_…`, for users have features of the same names.
    """
    features: list[FeatureSpec] = []
    prefix = ACCOUNT_PREFIX if entity.key == ACCOUNT_KEY and entity.only is None else ""
    for line in view.features:
        said = line.model_fields_set
        event = line.event if line.event is not None else view.event
        each = line.each if "each" in said else view.each
        by = line.by if "by" in said else view.by
        source = Source(event, each) if event != ANY_EVENT else Source(ANY_EVENT, None)
        windows: list[Window | None] = [*line.parsed_windows()] or [None]
        features.extend(
            FeatureSpec(
                name=prefix + (line.name if window is None else f"{line.name}_{window}"),
                source=source,
                by=by if event != ANY_EVENT else None,
                window=window,
                measures=tuple(line.measures()),
                is_ratio=line.ratio is not None,
                type="float",
            )
            for window in windows
        )
    return ViewSpec(name, view.entity, entity.key, entity.only, view.ttl_days, tuple(features))


def result_type(feature: FeatureSpec, fields: dict[str, Column]) -> FeatureType:
    """Type of the feature's value; `floats` is an array of 32-bit floats, one for each word."""
    if feature.by is not None:
        return "floats"
    if feature.is_ratio:
        return "float"
    measure = feature.measures[0]
    if measure.function in RESULT_TYPES:
        return RESULT_TYPES[measure.function]
    column = fields[measure.column or ""]
    if not isinstance(column, str):
        raise ValueError(f"'{measure.function}' of a list column")
    return column
