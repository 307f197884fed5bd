"""Whatever a library raises on a file is said of that file."""

from __future__ import annotations

import errno

import pytest

from rv_core.errors import DataError, UsageError
from rv_pipeline_chip_classification.file_boundary import file_boundary


@pytest.mark.parametrize("error", [ValueError("odd"), OverflowError("odd"), IndexError("odd"), MemoryError("odd")])
def test_an_error_of_a_library_names_the_file_and_keeps_its_words(error: Exception) -> None:
    with pytest.raises(DataError, match="it cannot be read") as raised, file_boundary("it cannot be read", where="a"):
        raise error
    assert raised.value.block.where == "a"
    assert "odd" in raised.value.block.why
    assert raised.value.__cause__ is error


@pytest.mark.parametrize("error", [UsageError("said"), OSError(errno.ENOSPC, "full"), KeyboardInterrupt()])
def test_what_is_explained_or_no_fault_of_the_file_passes(error: BaseException) -> None:
    with pytest.raises(type(error)) as raised, file_boundary("it cannot be read", where=lambda: "a"):
        raise error
    assert raised.value is error
