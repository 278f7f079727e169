"""Tables of predictions: text where there are few columns, a .npz beside the CSV where there are many."""

import numpy as np
import pandas as pd
import pytest

from kit.data.rows import MANY, files_of, read_rows, write_rows
from kit.errors import KitError


def _table(columns):
    values = np.random.default_rng(0).random((6, columns))
    names = [f"prob_{k}" for k in range(columns)]
    return pd.DataFrame({"image_id": ["007", "NA", *"abcd"]}).join(pd.DataFrame(values, columns=names))


@pytest.mark.parametrize("columns", [3, MANY])
def test_what_is_written_is_read(tmp_path, columns):
    table = _table(columns)
    write_rows(table, tmp_path / "oof.csv")
    again = read_rows(tmp_path / "oof.csv")
    assert again["image_id"].tolist() == table["image_id"].tolist()
    assert again.columns.tolist() == table.columns.tolist()
    assert np.allclose(again.iloc[:, 1:].to_numpy(float), table.iloc[:, 1:], atol=1e-7)
    assert len(files_of(tmp_path / "oof.csv")) == (2 if columns == MANY else 1)
    write_rows(_table(3), tmp_path / "oof.csv")  # nothing of the old stays
    assert read_rows(tmp_path / "oof.csv").shape == (6, 4)


def test_halves_that_do_not_belong_together(tmp_path):
    write_rows(_table(MANY), tmp_path / "oof.csv")
    (tmp_path / "oof.csv").write_text("image_id\na\n")
    with pytest.raises(KitError, match=r"oof\.npz: holds 6 rows, oof\.csv 1; type `kit predict --force`"):
        read_rows(tmp_path / "oof.csv")
