"""README's notebook cells run as they stand, in a kernel of their own, in an empty folder."""

import re
from pathlib import Path

import pytest

from kit.schema import dump_yaml, to_mapping

README = Path(__file__).resolve().parent.parent / "README.md"


@pytest.mark.slow
def test_the_cells_of_the_readme(tmp_path, tiny):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    section = README.read_text("utf-8").partition("## In a notebook")[2].partition("\n## ")[0]
    cells = re.findall(r"```python\n(.*?)```", section, re.S)
    assert len(cells) == 3
    small = to_mapping(tiny("name=demo", "train.epochs=1"))
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "demo.yaml").write_text(dump_yaml({k: v for k, v in small.items() if k != "members"}))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    said = ["".join(one.get("text", "") for one in cell.outputs) for cell in notebook.cells]
    shown = [one for cell in notebook.cells for one in cell.outputs if "data" in one]
    text = " ".join("".join(str(one["data"].get("text/plain", "")) for one in shown).split())
    assert "work/submissions/demo.csv" in said[0]
    assert "fold 1 epoch 1/1 train loss" in text, "a line an epoch"
    assert any("image/png" in one["data"] for one in shown)
    assert "prob_0" in text
    assert re.search(r"'(not distinguishable|wider is (better|worse))'", text)
