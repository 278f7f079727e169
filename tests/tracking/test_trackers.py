"""What TensorBoard and W&B were told, read back by their own libraries."""

import json
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from kit.errors import ConfigError
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.tools.track import track
from kit.tracking import tracker
from kit.tracking.metrics_file import read_history
from kit.workspace import Workspace


@pytest.fixture(scope="module")
def run(tmp_path_factory, digits, tiny) -> Run:
    """Trained with both trackers on."""
    pytest.importorskip("tensorboard")
    pytest.importorskip("wandb")
    place = tmp_path_factory.mktemp("tracked")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        run_pipeline(tiny("machine.track=[tensorboard, wandb]"), place, digits)
    return Run.named("tiny", place)


def _events(run: Run, part: str):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(run.files.folder / "tensorboard" / part), {"images": 0}).Reload()


def _records(data: bytes) -> Iterator[bytes]:
    """W&B's file: a header of 7 bytes, then LevelDB's log in blocks of 32 KiB."""
    place, parts = 7, b""
    while place + 7 <= len(data):
        room = 32768 - place % 32768
        if room < 7:
            place += room
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        parts += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


def _of_wandb(run: Run, part: str) -> tuple[list[dict], dict]:
    """(its history's rows, its config) from the offline file of the run named so."""
    from wandb.proto import wandb_internal_pb2

    for file in sorted((run.files.folder / "wandb").glob("offline-run-*/run-*.wandb")):
        rows, config, name = [], {}, ""
        for data in _records(file.read_bytes()):
            record = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("run"):
                name = record.run.display_name
                config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            if record.HasField("history"):
                items = record.history.item
                rows.append({(i.key or "/".join(i.nested_key)): json.loads(i.value_json) for i in items})
        if name == f"tiny {part}":
            return rows, config
    raise AssertionError(part)


@pytest.mark.parametrize("fold", [0, 1])
def test_tensorboard_has_every_epoch(run, fold):
    events, history = _events(run, f"fold_{fold}"), read_history(run.fold(fold).files.metrics)
    for name in ("train_loss", "valid_loss", "valid_accuracy", "learning_rate", "images_per_second"):
        told = events.Scalars(name)
        assert [one.step for one in told] == [line["epoch"] for line in history]
        assert [one.value for one in told] == pytest.approx([line[name] for line in history], rel=1e-6)


def test_tensorboard_has_cv_figures_and_settings(run):
    events = _events(run, "results")
    cv = json.loads(run.files.cv.read_text())["metrics"]["accuracy"]["pooled"]
    assert events.Scalars("cv/accuracy")[0].value == pytest.approx(cv)
    figures = {path.stem for path in run.files.figures.glob("*.png")}
    assert figures
    assert figures == set(events.Tags()["images"])
    text = events.Tensors("experiment/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "    name: tiny" in text


def test_wandb_has_the_same(run):
    rows, config = _of_wandb(run, "fold 0")
    history = read_history(run.fold(0).files.metrics)
    assert [row["_step"] for row in rows] == [line["epoch"] for line in history]
    assert [row["valid_accuracy"] for row in rows] == [line["valid_accuracy"] for line in history]
    assert config["train"]["epochs"] == 2
    results, _ = _of_wandb(run, "results")
    cv = json.loads(run.files.cv.read_text())["metrics"]["accuracy"]["pooled"]
    assert any(row.get("cv/accuracy") == cv for row in results)


def test_trackers_decide_no_bits(run, tmp_path, digits, tiny):
    run_pipeline(tiny(), tmp_path, digits)
    plain = Run.named("tiny", tmp_path)
    assert plain.fold(0).files.model.read_bytes() == run.fold(0).files.model.read_bytes()
    assert "track" not in json.dumps(json.loads((run.fold(0).files.trained).read_text()).get("experiment", ""))


def test_a_finished_run_is_sent_and_sent_again(run):
    for _ in range(2):
        track(run.workspace, "tiny", "tensorboard")
    assert [one.step for one in _events(run, "fold_1").Scalars("train_loss")] == [1, 2]


def test_a_tracker_that_fails_stops_nothing(tmp_path, digits, tiny, monkeypatch, capsys):
    def broken(*_):
        raise OSError("no room")

    monkeypatch.setattr(tracker, "open_tracker", broken)
    monkeypatch.setattr("kit.run.tracked.open_tracker", broken)
    run_pipeline(tiny("machine.track=[tensorboard]"), tmp_path, digits)
    said = capsys.readouterr()
    text = said.out + said.err
    assert text.count("a listener of epochs failed, the training goes on without it: no room") == 2, "once a fold"
    assert text.count("tensorboard was not told: OSError: no room") == 1
    assert Run.named("tiny", tmp_path).files.cv.is_file()


def test_what_is_no_tracker_or_not_there(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--track mlflow: expected tensorboard or wandb"):
        track(Workspace(tmp_path), "tiny", "mlflow")
    place = tracker.Place(tmp_path, "digits", "tiny", "fold 0", {})

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name="tensorboard")

    monkeypatch.setattr(tracker, "import_module", missing)
    with pytest.raises(ConfigError, match=r"tensorboard is not installed .*pip install -e '\.\[trackers\]'"):
        tracker.open_tracker("tensorboard", place)
    assert np.size(list(tmp_path.iterdir())) == 0
