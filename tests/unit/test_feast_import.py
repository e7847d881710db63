"""Feast is imported as it is: typeguard leaves its functions alone meanwhile, and works again afterwards."""

from __future__ import annotations

import pytest
import typeguard

from feature_repo.feast_import import unchecked


def _halved(number: int) -> float:
    return number / 2


def test_functions_stay_as_they_are_while_feast_is_imported() -> None:
    with unchecked():
        assert typeguard.typechecked(_halved) is _halved
        assert (
            typeguard.typechecked(collection_check_strategy=typeguard.CollectionCheckStrategy.ALL_ITEMS)(
                _halved
            )
            is _halved
        )
    assert typeguard.typechecked(_halved) is not _halved


def test_typeguard_works_again_after_an_import_that_failed() -> None:
    original = typeguard.typechecked
    with pytest.raises(ImportError, match="no such"), unchecked():
        raise ImportError("no such")
    assert typeguard.typechecked is original
