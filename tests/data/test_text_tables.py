"""Tables in the dialects that people send."""

import io

import pytest

from kit.data.text_tables import read_text_csv
from kit.errors import KitError

ROWS = [["1", "café"], ["2", "dog"], ["3", "café"], ["4", "dog"]]


def _text(delimiter, header=True):
    return "\n".join(delimiter.join(row) for row in ([["id", "label"]] if header else []) + ROWS) + "\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", "])
def test_dialects(delimiter, encoding):
    table = read_text_csv(io.BytesIO(_text(delimiter).encode(encoding)), "x.csv")
    assert list(table.columns) == ["id", "label"]
    assert table.to_numpy().tolist() == ROWS


def test_without_a_header():
    table = read_text_csv(io.BytesIO(_text(",", header=False).encode()), "x.csv")
    assert list(table.columns) == ["column1", "column2"]
    assert table.to_numpy().tolist() == ROWS
    names = read_text_csv(io.BytesIO(b"a.jpg,cat\nb.jpg,dog\n"), "x.csv")
    assert names["column1"].tolist() == ["a.jpg", "b.jpg"]


def test_a_header_of_classes_is_one():
    table = read_text_csv(io.BytesIO(b"id,0,1\na7,0,1\na8,1,0\na9,0,1\n"), "x.csv")
    assert list(table.columns) == ["id", "0", "1"]


def test_cells_stay_text():
    table = read_text_csv(io.BytesIO(b",id,label\n0,007,NA\n1,1e5,null\n"), "x.csv")
    assert list(table.columns) == ["", "id", "label"]
    assert table.to_numpy().tolist() == [["0", "007", "NA"], ["1", "1e5", "null"]]


def test_a_web_page_is_no_table():
    with pytest.raises(KitError, match=r"x\.csv: is not a CSV"):
        read_text_csv(io.BytesIO(b"<html>404</html>"), "x.csv")
