"""Feast's objects, generated from the documents: entities, file sources, views, push sources and services."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from feature_repo.aggregates import FeatureType
from feature_repo.feast_import import import_feast
from feature_repo.snapshots import EVENT_TIMESTAMP
from feature_repo.specs import Specs

PROJECT = "nextplay"


class Definitions(NamedTuple):
    """Feast objects by name; `all()` is what `FeatureStore.apply` takes."""

    entities: dict[str, Any]
    views: dict[str, Any]
    push_sources: dict[str, Any]
    services: dict[str, Any]

    def all(self) -> list[Any]:
        """Every object, in the order Feast wants them."""
        return [object_ for kind in self for object_ in kind.values()]


def push_source_name(view: str) -> str:
    """Name of the push source of a view of users."""
    return f"{view}_push"


def generate(specs: Specs, snapshots: Path) -> Definitions:
    """Feast objects for the specs; offline data are the Parquet files in `snapshots/<view>/`.

    Importing Feast takes seconds, so it happens here and not with this module.
    """
    import_feast()
    from feast import Entity, FeatureService, FeatureView, Field, FileSource, PushSource, ValueType  # noqa: PLC0415
    from feast.data_format import ParquetFormat  # noqa: PLC0415
    from feast.types import Array, Bool, Float32, Float64, Int64, String, UnixTimestamp  # noqa: PLC0415

    types: dict[FeatureType, Any] = {
        "int": Int64,
        "float": Float64,
        "text": String,
        "bool": Bool,
        "time": UnixTimestamp,
        "floats": Array(Float32),
    }
    keys = {view.entity: view.key for view in specs.views.values()}
    entities = {
        name: Entity(name=name, join_keys=[key], value_type=ValueType.STRING) for name, key in keys.items()
    }
    views: dict[str, Any] = {}
    push_sources: dict[str, Any] = {}
    for view in specs.views.values():
        source = FileSource(
            name=f"{view.name}_snapshots",
            path=str(snapshots / view.name / "*.parquet"),
            timestamp_field=EVENT_TIMESTAMP,
            file_format=ParquetFormat(),
        )
        if view.of_users:
            push_sources[view.name] = PushSource(name=push_source_name(view.name), batch_source=source)
        views[view.name] = FeatureView(
            name=view.name,
            entities=[entities[view.entity]],
            ttl=timedelta(days=view.ttl_days) if view.ttl_days is not None else timedelta(0),
            schema=[
                Field(name=view.key, dtype=String),
                *(Field(name=feature.name, dtype=types[feature.type]) for feature in view.features),
            ],
            source=push_sources.get(view.name, source),
            online=True,
        )
    services = {
        name: FeatureService(name=name, features=[views[view] for view in names])
        for name, names in specs.services.items()
    }
    return Definitions(entities, views, push_sources, services)
