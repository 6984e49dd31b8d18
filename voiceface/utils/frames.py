"""Data frames of whichever library is installed."""

from collections.abc import Mapping, Sequence
from typing import Any

from voiceface.utils.errors import UserError


def data_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """A data frame of pandas where it is installed, else of polars.

    Args:
        rows: One mapping from column to value per row.

    Raises:
        UserError: Neither is installed.
    """
    try:
        import pandas

        return pandas.DataFrame([dict(row) for row in rows])
    except ModuleNotFoundError:
        pass
    try:
        import polars
    except ModuleNotFoundError:
        raise UserError("to_frame needs pandas or polars: pip install pandas") from None
    return polars.DataFrame([dict(row) for row in rows], infer_schema_length=None)
