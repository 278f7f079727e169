"""A run under its old and new keys, on another machine, renamed: what is done stays done, what changed is said."""

import json

import pytest
import yaml

from kit.config import OLD_SPELLINGS, Experiment
from kit.errors import ConfigError
from kit.run.run import Run
from kit.schema import dump_yaml
from kit.stages.download import download
from kit.stages.ensemble import ensemble
from kit.stages.index import index
from kit.stages.predict import predict
from kit.stages.split import split
from kit.stages.train import train
from kit.workspace import Workspace


@pytest.fixture(scope="module")
def place(tmp_path_factory, digits, tiny) -> Workspace:
    workspace = Workspace(tmp_path_factory.mktemp("run"))
    run = Run.open(tiny("train.epochs=1"), workspace)
    download(run, digits)
    index(run)
    split(run)
    return workspace


def _bytes(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.files.folder.glob("fold_*/*") if path.suffix != ".png"}


def test_a_run_made_under_the_old_keys_is_up_to_date(place, tiny, capsys):
    experiment = tiny("name=old", "train.epochs=1")
    run = Run.open(experiment, place)
    train(run)
    predict(run)
    raw = yaml.safe_load(run.files.experiment.read_text())
    for old, new in OLD_SPELLINGS.items():
        (old_section, old_key), (section, key) = old.split("."), new.split(".")
        raw[old_section][old_key] = raw[section].pop(key)
    del raw["machine"]
    run.files.experiment.write_text(dump_yaml(raw))
    for fold in run.folds():
        begun = json.loads(fold.files.started.read_text())
        fold.files.started.write_text(json.dumps({"inputs": begun["inputs"]}))
    before = {
        path: path.stat().st_mtime_ns
        for path in run.files.folder.rglob("*.*")
        if path.suffix in {".csv", ".safetensors"}
    }
    capsys.readouterr()
    again = Run.open(experiment, place)
    train(again)
    predict(again)
    assert capsys.readouterr().out.count("is up to date") == 4
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())


def test_old_spellings_are_read_in_configs_and_overrides(tmp_path):
    file = tmp_path / "old.yaml"
    file.write_text("competition: digits\ntrain: {precision: bf16, num_workers: 3}\ntta: {compile: false}\n")
    experiment = Experiment.load(file, ["tta.precision=fp32", "train.num_threads=2", "ensemble.members=full"])
    machine = experiment.machine
    assert (machine.precision, machine.num_workers, machine.num_threads) == ("bf16", 3, 2)
    assert (machine.predict_precision, machine.predict_compile) == ("fp32", False)
    assert experiment.ensemble.models == "full"
    file.write_text("competition: digits\ntrain: {precision: bf16}\nmachine: {precision: fp32}\n")
    with pytest.raises(ConfigError, match=r"train\.precision is the old spelling of machine\.precision, and both are"):
        Experiment.load(file)


def test_a_fold_that_has_begun_keeps_how_it_computes_and_the_next_take_the_change(place, tiny, capsys):
    asked = tiny("name=moved", "train.epochs=1")
    train(Run.open(asked, place), [0])
    moved = Run.open(asked.with_machine(memory_format="channels_last", num_workers=1), place)
    capsys.readouterr()
    train(moved)
    said = capsys.readouterr().out
    assert "goes on as it was made: fp32, channels_last, 1 thread" in said
    assert "fold 0 keeps what it began with: fp32, contiguous, 1 thread" in said
    assert "fold 0 is up to date" in said
    predict(moved)
    ensemble([moved])
    cv = json.loads(moved.files.cv.read_text())
    assert cv["machine"]["moved"] == {"fold 0": "fp32, contiguous, 1 thread", "fold 1": "fp32, channels_last, 1 thread"}
    train(Run.open(asked.with_machine(memory_format="auto"), place))
    assert capsys.readouterr().out.count("is up to date") == 2, "what is left open is as it was settled"


def test_another_experiment_under_the_same_name_is_refused(place, tiny):
    train(Run.open(tiny("name=taken", "train.epochs=1"), place), [0])
    with pytest.raises(ConfigError, match=r"made by another experiment \(train\.batch_size: 32 -> 16\)"):
        train(Run.open(tiny("name=taken", "train.epochs=1", "train.batch_size=16"), place))


def test_a_folder_that_was_renamed_is_a_run_of_its_own(place, tiny, capsys):
    run = Run.open(tiny("name=before", "train.epochs=1"), place)
    train(run)
    before = _bytes(run)
    run.files.folder.rename(place.run("after"))
    again = Run.named("after", place)
    capsys.readouterr()
    train(again)
    assert capsys.readouterr().out.count("is up to date") == 2
    assert again.files.folder == place.run("after")
    assert _bytes(again) == before
    with pytest.raises(ConfigError, match="no such run"):
        Run.named("before", place)


def test_a_stage_that_writes_the_index_anew_is_seen_by_the_same_object(place, tiny):
    run = Run.open(tiny("name=long-lived"), place)
    first = run.index
    assert run.index is first, "loaded once"
    index(run, force=True)
    assert run.index is not first
    split(run, force=True)
    assert len(run.samples.folds) == len(run.index)
