"""What every part of a library is written as: documents that are strict at reading and never change after."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]{0,63}$")]


class Document(BaseModel):
    """A part of a library file: unknown fields are refused, values never change after reading.

    Numbers are finite: JSON, in which versions are kept, knows no others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def written(self) -> dict[str, Any]:
        """Return it as one would write it: plain data, without what is as it would be anyway."""
        return self.model_dump(mode="json", exclude_defaults=True)
