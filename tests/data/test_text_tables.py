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


def test_rows_of_pixels_have_no_header():
    rows = ["7," + ",".join("0" if k % 3 else "255" for k in range(64)), "3," + ",".join(["0"] * 64)]
    table = read_text_csv(io.BytesIO("\n".join(rows).encode()), "x.csv")
    assert list(table.columns) == ["label", *(f"pixel{k}" for k in range(64))]
    assert table["label"].tolist() == ["7", "3"]
    bare = read_text_csv(io.BytesIO("\n".join(row.partition(",")[2] for row in rows).encode()), "x.csv")
    assert list(bare.columns) == [f"pixel{k}" for k in range(64)]
    named = read_text_csv(io.BytesIO((",".join(map(str, range(64))) + "\n" + ",".join(["0"] * 64)).encode()), "x.csv")
    assert list(named.columns) == [str(k) for k in range(64)]


def test_a_comma_too_many_costs_its_row_alone(capsys):
    rows = [f"{k},shirt,blue" for k in range(30)]
    rows[4] += ", and white"
    table = read_text_csv(io.BytesIO("\n".join(["id,kind,name", *rows]).encode()), "styles.csv")
    assert table["id"].tolist() == [str(k) for k in range(30) if k != 4]
    assert "styles.csv: 1 row with too many cells left out (4)" in capsys.readouterr().out
    longer = [*rows[:5], *(f"{row},x,y" for row in rows[5:])]
    with pytest.raises(KitError, match=r"styles\.csv: cannot be read as CSV"):
        read_text_csv(io.BytesIO("\n".join(["id,kind,name", *longer]).encode()), "styles.csv")


def test_decimal_commas_are_numbers():
    table = read_text_csv(io.BytesIO(b"id;size;codes;sold\na;11,89;3,7;12,345\nb;-3,50;5;1,250\nc;;7,2;\n"), "x.csv")
    assert table["size"].tolist() == ["11.89", "-3.50", ""]
    assert table["codes"].tolist() == ["3,7", "5", "7,2"], "labels"
    assert table["sold"].tolist() == ["12,345", "1,250", ""], "thousands"


def test_a_json_of_classes_and_their_images():
    table = read_text_csv(io.BytesIO(b'{"pie": ["pie/1", "pie/2"], "sushi": ["sushi/7", "sushi/9"]}'), "train.json")
    assert table.to_numpy().tolist() == [["pie/1", "pie"], ["pie/2", "pie"], ["sushi/7", "sushi"], ["sushi/9", "sushi"]]
    tags = read_text_csv(io.BytesIO(b'{"a1": ["red", "big"], "a2": ["red", "old"]}'), "train.json")
    assert tags["id"].tolist() == ["a1", "a2"], "labels of an image recur"
    with pytest.raises(KitError, match=r"x\.json: is no table"):
        read_text_csv(io.BytesIO(b'{"labels": [{"score": 1}, {"score": 2}], "colors": [{"red": 3}]}'), "x.json")


def test_a_web_page_is_no_table():
    with pytest.raises(KitError, match=r"x\.csv: is not a CSV"):
        read_text_csv(io.BytesIO(b"<html>404</html>"), "x.csv")
