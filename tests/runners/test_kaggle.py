"""Training on Kaggle's GPUs, against the loopback Kaggle, which really runs what is pushed."""

from pathlib import Path

import pytest
from kaggle_cloud import Cloud, serve_cloud

from kit.config import Experiment
from kit.pipeline import run_pipeline
from kit.runners import kaggle as on_kaggle

SLUG = "tiny-digits"


@pytest.fixture
def cloud(tmp_path, digits, point_sdk_at, monkeypatch):
    """Kaggle, with the digits as a competition, and the kit in a hurry."""
    state = Cloud(folder=tmp_path / "cloud", competitions={SLUG: digits})
    server = serve_cloud(state)
    point_sdk_at(state.url)
    monkeypatch.setattr(on_kaggle, "POLL", 0.2)
    monkeypatch.setattr(on_kaggle, "LATE", 5.0)
    yield state
    state.stop()
    server.shutdown()
    server.server_close()


@pytest.fixture
def there(tmp_path, tiny) -> Experiment:
    """The tiny experiment, for a competition that is on Kaggle."""
    text = Path("configs/competitions/digits.yaml").read_text().replace("name: digits", f"name: {SLUG}\nslug: {SLUG}")
    file = tmp_path / "competitions" / f"{SLUG}.yaml"
    file.parent.mkdir()
    file.write_text(text)
    return tiny(f"competition={file}")


def test_the_same_bytes_as_here(cloud, there, digits, tmp_path, capsys):
    """In four sessions, as one of two folds' two epochs fits into each."""
    result = run_pipeline(there, tmp_path / "remote", on="kaggle", max_hours=0.9)
    assert len(cloud.pushes) == 4
    ours = run_pipeline(there, tmp_path / "here", digits)
    for name in ("fold_0/oof.csv", "fold_1/oof.csv", "fold_0/test.csv", "oof.csv", "fold_1/model.safetensors"):
        remote, here = (tmp_path / place / "runs" / "tiny" / name for place in ("remote", "here"))
        assert remote.read_bytes() == here.read_bytes(), name
    assert result.submission.read_bytes() == ours.submission.read_bytes()
    assert result.cv == ours.cv
    pushes = len(cloud.pushes)
    run_pipeline(there, tmp_path / "remote", on="kaggle")
    assert len(cloud.pushes) == pushes, "all is here: nothing is started"
    assert not list((tmp_path / "remote").rglob("last.ckpt"))
    said = capsys.readouterr().out
    assert "kaggle | " in said
    assert "of 30 GPU hours used this week" in said
    assert cloud.pushes[1]["kernelDataSources"] == [f"me/{cloud.pushes[0]['slug'].partition('/')[2]}"]
