"""Parquet, by pyarrow through pandas."""

from pathlib import Path

import pandas as pd

from kit.errors import KitError, reason


def read_parquet(file: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """Raises `KitError`."""
    try:
        return pd.read_parquet(file, columns=columns)
    except ImportError:
        raise KitError(f"{file}: parquet needs `pip install pyarrow`") from None
    except Exception as error:  # pyarrow's errors have several roots
        raise KitError(f"{file}: cannot be read as parquet: {reason(error)}; get it again") from None
