"""The stages together on real digits: honest OOF, nothing done twice, killed runs end with the same bytes."""

import json
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from by_name import fold_folder
from machine import DEVICE

from kit.competition import Competition
from kit.config import Experiment
from kit.data.rows import read_rows
from kit.data.table import TARGET, predictions, targets
from kit.errors import ConfigError, KitError
from kit.models import build_classifier
from kit.pipeline import run_pipeline
from kit.run.cv import cross_validation
from kit.run.hand_in import HandIn
from kit.run.run import Run
from kit.schema import dump_yaml, to_mapping
from kit.settings import Ensemble
from kit.stages import download, ensemble, explore, index, predict, split, submit, train
from kit.tasks import Outputs
from kit.tools import bench, cache, compare
from kit.tools.demo import score_submission
from kit.tools.predict_images import predict_images
from kit.training.checkpoint import load_model
from kit.workspace import Workspace


def _prepare(experiment, workspace, source):
    download.download(Run.open(experiment, workspace), source)
    index.index(Run.open(experiment, workspace))
    split.split(Run.open(experiment, workspace))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, digits, tiny):
    """One whole small run that the tests below look at (and may add to, not change)."""
    experiment = tiny("tta.views=[identity, hflip]")
    workspace = Workspace(tmp_path_factory.mktemp("finished"))
    _prepare(experiment, workspace, digits)
    explore.explore(Run.open(experiment, workspace))
    train.train(Run.open(experiment, workspace))
    predict.predict(Run.open(experiment, workspace))
    return experiment, workspace, ensemble.ensemble([Run.open(experiment, workspace)])


def test_oof_covers_each_training_image_once(finished):
    _experiment, workspace, _ = finished
    table = pd.read_csv(workspace.index("digits"), dtype=str)
    oof = pd.read_csv(workspace.run("tiny") / "oof.csv", dtype={"image_id": str, TARGET: str})
    assert sorted(oof["image_id"]) == sorted(table.loc[table["split"] == "train", "image_id"])
    probs = oof[[f"prob_{k}" for k in range(10)]].to_numpy()
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-5)
    folds = pd.read_csv(workspace.run("tiny") / "folds.csv", dtype={"image_id": str}).set_index("image_id")["fold"]
    assert (folds[oof["image_id"]].to_numpy() == oof["fold"].to_numpy()).all()


def test_oof_is_what_the_folds_own_model_says_by_hand(finished):
    """Reproduce one fold's OOF from the images on disk, the saved weights, and the two views."""
    import cv2

    experiment, workspace, _ = finished
    weights, _ = load_model(fold_folder(workspace, "tiny", 0) / "model.safetensors")
    model = build_classifier(experiment.model, Outputs(10))
    model.load_state_dict(weights)
    oof = pd.read_csv(fold_folder(workspace, "tiny", 0) / "oof.csv", dtype={"image_id": str}).head(5)
    pictures = [cv2.imread(str(workspace.raw("digits") / "train" / f"{name}.jpg")) for name in oof["image_id"]]
    squares = np.stack([cv2.resize(p, (16, 16), interpolation=cv2.INTER_AREA)[..., ::-1] for p in pictures])
    pixels = torch.from_numpy(squares.copy()).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = (model.eval()(pixels).softmax(1) + model(pixels.flip(3)).softmax(1)) / 2
    # A cached JPEG is decoded at half its size, so the pixels differ a little.
    assert np.abs(oof[[f"prob_{k}" for k in range(10)]].to_numpy() - expected.numpy()).max() < 0.05


def test_cv_json_says_what_the_oof_says(finished):
    _, workspace, result = finished
    cv = json.loads((workspace.run("tiny") / "cv.json").read_text())
    oof = pd.read_csv(workspace.run("tiny") / "oof.csv", dtype={TARGET: str})
    right = oof[[f"prob_{k}" for k in range(10)]].to_numpy().argmax(1) == oof[TARGET].astype(int)
    accuracy = cv["metrics"]["accuracy"]
    assert cv["metric"] == "accuracy"
    assert accuracy["pooled"] == pytest.approx(right.mean()) == result.cv
    assert accuracy["folds"] == pytest.approx([right[oof["fold"] == k].mean() for k in (0, 1)])
    assert accuracy["interval"][0] < accuracy["pooled"] < accuracy["interval"][1]


def test_the_submission_is_the_mean_of_the_folds_in_the_samples_order(finished, digits):
    _, workspace, result = finished
    tests = [
        pd.read_csv(fold_folder(workspace, "tiny", k) / "test.csv", dtype={"image_id": str}).set_index("image_id")
        for k in (0, 1)
    ]
    submission = pd.read_csv(result.submission, dtype=str)
    sample = pd.read_csv(digits / "sampleSubmission.csv", dtype=str)
    assert submission["id"].tolist() == sample["id"].tolist()
    mean = (tests[0] + tests[1]).loc[submission["id"]]
    assert mean.to_numpy().argmax(1).tolist() == submission["label"].astype(int).tolist()
    passport = json.loads(result.passport.read_text())
    assert passport["members"][0]["run"] == "tiny"
    assert len(passport["members"][0]["inputs"]) == 4
    assert submit.submit(Run.open(*finished[:2]), dry_run=True).num_rows == 50
    truth = pd.read_csv(digits / "solution.csv", dtype=str).set_index("id")["label"]
    right = submission["label"].to_numpy() == truth.loc[submission["id"]].to_numpy()
    assert score_submission(result.submission, digits / "solution.csv") == pytest.approx(right.mean())


def test_everything_a_run_leaves(finished):
    _, workspace, _ = finished
    for file in ("experiment.yaml", "environment.json", "folds.csv", "oof.csv", "cv.json", "figures/confusion.png",
                 "figures/worst_errors.png", "fold_0/model.safetensors", "fold_0/metrics.jsonl", "figures/curves.png",
                 "fold_1/oof.csv", "fold_1/test.csv"):  # fmt: skip
        assert (workspace.run("tiny") / file).stat().st_size > 0
    figures = {file.name for file in workspace.figures("digits").iterdir()}
    assert {"classes.png", "sizes.png", "channels.png", "class-0.png", "class-9.png"} <= figures
    assert not list(workspace.root.rglob("*.tmp"))


def test_what_is_done_is_not_done_again(finished, digits, capsys):
    experiment, workspace, _ = finished
    files = {f: f.stat().st_mtime_ns for f in workspace.root.rglob("*") if f.suffix in {".csv", ".safetensors", ".png"}}
    _prepare(experiment, workspace, digits)
    explore.explore(Run.open(experiment, workspace))
    train.train(Run.open(experiment, workspace))
    files.pop(next(f for f in files if f.name == "confusion.png"))
    assert all(f.stat().st_mtime_ns == then for f, then in files.items())
    said = capsys.readouterr().out
    assert said.count("up to date") == 5
    assert "is complete, and the same as" in said


def test_changed_views_repeat_predict_and_nothing_before(finished, tmp_path):
    experiment, workspace, _ = finished
    model = fold_folder(workspace, "tiny", 0) / "model.safetensors"
    then, before = model.stat().st_mtime_ns, (fold_folder(workspace, "tiny", 0) / "oof.csv").read_bytes()
    other = Experiment.load(workspace.run("tiny") / "experiment.yaml", ["tta.views=[identity]"])
    train.train(Run.open(other, workspace))
    predict.predict(Run.open(other, workspace))
    assert model.stat().st_mtime_ns == then
    assert (fold_folder(workspace, "tiny", 0) / "oof.csv").read_bytes() != before
    predict.predict(Run.open(experiment, workspace))
    assert (fold_folder(workspace, "tiny", 0) / "oof.csv").read_bytes() == before


def test_a_changed_experiment_is_refused_with_the_difference(finished):
    _experiment, workspace, _ = finished
    changed = Experiment.load(workspace.run("tiny") / "experiment.yaml", ["train.epochs=3", "model.options.width=0.25"])
    with pytest.raises(
        ConfigError, match=r"model\.options\.width: 0\.125 -> 0\.25; train\.epochs: 2 -> 3.*its own name"
    ):
        train.train(Run.open(changed, workspace))


def test_workers_and_auto_are_no_change(finished):
    _, workspace, _ = finished
    same = ["train.num_workers=2", "train.precision=auto", "train.memory_format=auto", "train.num_threads=null"]
    result = train.train(Run.open(Experiment.load(workspace.run("tiny") / "experiment.yaml", same), workspace))
    assert result.finished
    assert set(result.scores) == {"0", "1"}


def test_predict_any_folder_of_pictures(finished, tmp_path):
    experiment, workspace, _ = finished
    folder = tmp_path / "mine"
    folder.mkdir()
    source = workspace.raw("digits") / "test1"
    for name in ("1.jpg", "2.jpg"):
        (folder / name).write_bytes((source / name).read_bytes())
    (folder / "notes.txt").write_text("no picture")
    table = pd.read_csv(predict_images(Run.open(experiment, workspace), folder, tmp_path / "out.csv").path)
    assert table["file"].tolist() == ["1.jpg", "2.jpg"]
    tests = [pd.read_csv(fold_folder(workspace, "tiny", k) / "test.csv").set_index("image_id") for k in (0, 1)]
    assert table.iloc[:, 1:].to_numpy() == pytest.approx(((tests[0] + tests[1]) / 2).loc[[1, 2]].to_numpy(), abs=1e-5)


def test_the_full_model_alone_is_handed_in(finished, capsys):
    _, workspace, _ = finished
    settings = ["ensemble.members=full"]
    experiment = Experiment.load(workspace.run("tiny") / "experiment.yaml", settings)
    train.train(Run.open(experiment, workspace), ["full"])
    predict.predict(Run.open(experiment, workspace), ["full"])
    result = ensemble.ensemble([Run.open(experiment, workspace)], name="tiny-full")
    assert "the submission is from the model trained on all data" in "".join(capsys.readouterr())
    probs = pd.read_csv(fold_folder(workspace, "tiny", "full") / "test.csv", dtype={"image_id": str}).set_index(
        "image_id"
    )
    handed_in = pd.read_csv(result.submission, dtype=str)
    assert handed_in["label"].astype(int).tolist() == probs.loc[handed_in["id"]].to_numpy().argmax(1).tolist()


def test_a_blend_of_two_runs(finished, tiny):
    experiment, workspace, _ = finished
    other = tiny("name=other", "train.learning_rate=0.002")
    train.train(Run.open(other, workspace))
    predict.predict(Run.open(other, workspace))
    plain = tiny("tta.views=[identity, hflip]", "ensemble.blend=mean")
    result = ensemble.ensemble(
        [Run.named(one, workspace) for one in ["tiny", "other"]], "both", settings=plain.ensemble
    )
    first = pd.read_csv(workspace.run("tiny") / "oof.csv")
    both = pd.read_csv(workspace.run("both") / "oof.csv")
    parts = pd.concat([pd.read_csv(fold_folder(workspace, "other", k) / "oof.csv") for k in (0, 1)])
    columns = [f"prob_{k}" for k in range(10)]
    mean = (first[columns].to_numpy() + parts[columns].to_numpy()) / 2
    assert both[columns].to_numpy() == pytest.approx(mean, abs=1e-6)
    assert result.submission.name == "both.csv"
    with pytest.raises(ConfigError, match=r"no such run \(did you mean 'other'\?\)"):
        ensemble.ensemble([Run.named(one, workspace) for one in ["othre"]], settings=experiment.ensemble)


def test_stale_and_mixed_predictions_are_not_blended(finished, tiny):
    _, workspace, _ = finished
    experiment = tiny("name=stale")
    train.train(Run.open(experiment, workspace))
    predict.predict(Run.open(experiment, workspace))
    predict.predict(Run.open(tiny("name=stale", "tta.views=[hflip]"), workspace), [0])
    with pytest.raises(KitError, match="predicted with different TTA views; type `kit predict`"):
        ensemble.ensemble([Run.open(experiment, workspace)])
    predict.predict(Run.open(experiment, workspace))
    model = fold_folder(workspace, "stale", 0) / "model.safetensors"
    model.write_bytes((fold_folder(workspace, "stale", 1) / "model.safetensors").read_bytes())
    with pytest.raises(KitError, match="not from the model in this folder; type `kit predict`"):
        ensemble.ensemble([Run.open(experiment, workspace)])
    train.train(Run.open(experiment, workspace), [0], force=True)
    assert not (fold_folder(workspace, "stale", 0) / "oof.csv").exists()
    with pytest.raises(ConfigError, match="is already a run's name"):
        ensemble.ensemble([Run.named(one, workspace) for one in ["tiny"]], "stale", settings=experiment.ensemble)


def test_folds_that_moved_under_a_run_are_refused(tiny, workspace, digits):
    experiment = tiny()
    _prepare(experiment, workspace, digits)
    train.train(Run.open(experiment, workspace), [0])
    path = workspace.folds("digits", 2, 0)
    table = pd.read_csv(path, dtype={"image_id": str})
    table.assign(fold=1 - table["fold"]).to_csv(path, index=False)
    with pytest.raises(KitError, match="made with folds other than"):
        train.train(Run.open(experiment, workspace), [1])


def test_stages_out_of_order_say_what_is_missing(tiny, workspace, digits):
    experiment = tiny()
    with pytest.raises(KitError, match="type `kit download`"):
        index.index(Run.open(experiment, workspace))
    with pytest.raises(KitError, match="type `kit index` first"):
        train.train(Run.open(experiment, workspace))
    download.download(Run.open(experiment, workspace), digits)
    index.index(Run.open(experiment, workspace))
    with pytest.raises(KitError, match="type `kit split` first"):
        train.train(Run.open(experiment, workspace))
    with pytest.raises(KitError, match="type `kit run` first"):
        predict.predict(Run.open(experiment, workspace))


def test_a_picture_that_is_gone_since_the_index_is_one_line(tiny, tmp_path, digits):
    run = Run.open(tiny(), Workspace(tmp_path))
    _prepare(run.experiment, run.workspace, digits)
    raw = run.workspace.raw("digits")
    for file in raw.glob("train/*.jpg"):
        file.unlink()
    for look in (lambda: explore.explore(run), lambda: train.train(run), lambda: bench._reading(run.index, raw)):
        with pytest.raises(KitError, match=r"\.jpg: no such file; it has changed since `kit index`, type `kit index"):
            look()


def test_fold_order_and_interruption_by_time_change_no_bit(tiny, tmp_path, digits):
    results = []
    for name, orders, hours in (
        ("forward", [[0, 1]], None),
        ("backward", [[1], [0]], None),
        ("pieces", [[0, 1]] * 60, 1e-9),
    ):
        workspace, experiment = Workspace(tmp_path / name), tiny("train.checkpoint_minutes=1e-9")
        _prepare(experiment, workspace, digits)
        for folds in orders:
            if train.train(Run.open(experiment, workspace), folds, max_hours=hours).finished and hours:
                break
        results.append([(fold_folder(workspace, "tiny", fold) / "model.safetensors").read_bytes() for fold in (0, 1)])
    assert results[0] == results[1] == results[2]


KIT_ON_A_GPU = """
import os, runpy, sys
print("on", os.environ["CUDA_VISIBLE_DEVICES"], "with", os.environ["KIT_CORES"], "cores")
os.environ["CUDA_VISIBLE_DEVICES"] = ""
runpy.run_module("kit", run_name="__main__")
"""


def _two_gpus(monkeypatch) -> None:
    """Processes that are told of a GPU each; they work on the CPU."""
    named = [{"CUDA_VISIBLE_DEVICES": name, "KIT_CORES": "1"} for name in ("3", "7")]
    monkeypatch.setattr("kit.runners.gpus.slots", lambda each=1: named)
    monkeypatch.setattr("kit.runners.gpus.COMMAND", (sys.executable, "-c", KIT_ON_A_GPU))


def test_folds_on_several_gpus_are_the_same_folds(finished, tiny, tmp_path, digits, monkeypatch, capsys):
    """Processes of their own, each told its GPU and its share of the cores; the weights are those of one process."""
    _, alone, _ = finished
    workspace = Workspace(tmp_path)
    experiment = tiny("tta.views=[identity, hflip]")
    _prepare(experiment, workspace, digits)
    _two_gpus(monkeypatch)
    capsys.readouterr()
    result = train.train(Run.open(experiment, workspace))
    said = capsys.readouterr().out
    assert "2 jobs, 2 at a time, each on its own GPUs" in said
    assert set(re.findall(r"fold [01] \| on (\d) with 1 cores", said)) == {"3", "7"}
    assert sorted(result.scores) == ["0", "1"]
    for fold in (0, 1):
        one, other = (fold_folder(place, "tiny", fold) / "model.safetensors" for place in (alone, workspace))
        assert DEVICE.type != "cpu" or one.read_bytes() == other.read_bytes()
    monkeypatch.setattr("kit.runners.gpus.slots", lambda each=1: [])
    with pytest.raises(ConfigError, match="--on gpus: this machine has no GPU that torch can use"):
        train.train(Run.open(experiment, workspace), on="gpus")
    with pytest.raises(ConfigError, match=r"--on gpu: no such place \(did you mean 'gpus'\?\)"):
        train.train(Run.open(experiment, workspace), on="gpu")


def test_a_fold_that_fails_on_its_gpu_is_named(finished, monkeypatch):
    experiment, workspace, _ = finished
    damaged = fold_folder(workspace, "tiny", 1) / "last.ckpt"
    stamp = fold_folder(workspace, "tiny", 1) / ".train.json"
    held = stamp.read_bytes()
    assert not damaged.exists(), "four times the model, and of no more use once the fold is done"
    _two_gpus(monkeypatch)
    try:
        damaged.write_bytes(b"no checkpoint")
        stamp.unlink()
        with pytest.raises(KitError, match=r"fold 1 failed \(the reason is above\)"):
            train.train(Run.open(experiment, workspace))
    finally:
        damaged.unlink(missing_ok=True)
        stamp.write_bytes(held)


def test_what_the_cache_holds_is_listed_and_cleared(tiny, workspace, digits):
    experiment = tiny("name=cached", "train.epochs=1")
    _prepare(experiment, workspace, digits)
    train.train(Run.open(experiment, workspace), [0])
    before = (fold_folder(workspace, "cached", 0) / "model.safetensors").read_bytes()
    listed = cache.cache(workspace)
    assert [path.name for path in listed.files if path.suffix == ".npy"] == [
        path.name for path in workspace.cache("digits").glob("*.npy")
    ]
    assert listed.num_bytes > 250 * 16 * 16 * 3
    assert cache.cache(workspace, clear=True).cleared
    assert cache.cache(workspace).files == []
    train.train(Run.open(experiment, workspace), [0], force=True)  # a cold cache
    assert (fold_folder(workspace, "cached", 0) / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_cache_elsewhere_and_no_room_for_one_change_no_bit(finished, tiny, tmp_path, digits, capsys, num_workers):
    _, made, _ = finished
    settings = {"elsewhere": f"machine.cache_dir={tmp_path / 'disk'}", "nowhere": "machine.cache_gb=1e-6"}
    for name, setting in settings.items():
        workspace = Workspace(tmp_path / name)
        experiment = tiny("tta.views=[identity, hflip]", setting, f"machine.num_workers={num_workers}")
        _prepare(experiment, workspace, digits)
        train.train(Run.open(experiment, workspace), [0])
        predict.predict(Run.open(experiment, workspace), [0])
        for file in ("model.safetensors", "oof.csv", "test.csv"):
            own, usual = (fold_folder(place, "tiny", 0) / file for place in (workspace, made))
            assert own.read_bytes() == usual.read_bytes(), (name, file)
        assert not list(workspace.cache("digits").glob("*.npy"))
    assert len(list((tmp_path / "disk" / "kit-cache" / "digits").glob("*.npy"))) == 1
    assert "every epoch decodes the pictures anew" in " ".join("".join(capsys.readouterr()).split())
    assert cache.cache(workspace, cache_dir=str(tmp_path / "disk")).num_bytes > 0
    assert cache.cache(workspace, clear=True, cache_dir=str(tmp_path / "disk")).cleared
    assert not list((tmp_path / "disk").rglob("*.npy"))


def test_bench_measures_every_part_and_leaves_no_run(tiny, workspace, digits, monkeypatch):
    monkeypatch.setattr("kit.tools.bench.TRAINED_SECONDS", 0.2)
    experiment = tiny("name=measured")
    _prepare(experiment, workspace, digits)
    result = bench.bench(Run.open(experiment, workspace))
    names = [speed.name for speed in result.speeds]
    assert names == ["read and decode", "prepare batches, one core", "train", "predict, all views"]
    assert "a fold of 2 epochs" in result.advice[0]
    assert len(result.advice) == 2
    assert [path.name for path in (workspace.root / "runs").glob("*")] == []


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_same_submission(tmp_path, digits, tiny):
    """SIGKILL in the middle of the training, twice, then the same command again: byte for byte the same."""
    file = tmp_path / "tiny.yaml"
    file.write_text(
        dump_yaml(to_mapping(tiny("train.epochs=3", "train.checkpoint_minutes=1e-9", "train.num_workers=1")))
    )

    def start(folder: Path) -> subprocess.Popen:
        verb = ["run", "-c", str(file), "--from", str(digits), "--workspace", str(folder)]
        command = [sys.executable, "-c", "from kit.cli import main; main()", *verb]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    alone, killed = tmp_path / "alone", tmp_path / "killed"
    first = start(alone)
    assert first.wait(300) == 0, first.stdout.read()
    for fold in (0, 1):
        checkpoint, process, ends = killed / f"runs/tiny/fold_{fold}/last.ckpt", start(killed), time.monotonic() + 200
        seen = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while not (checkpoint.exists() and checkpoint.stat().st_mtime_ns != seen) and time.monotonic() < ends:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (killed / "submissions" / "tiny.csv").exists()
    last = start(killed)
    assert last.wait(300) == 0, last.stdout.read()
    assert (killed / "submissions/tiny.csv").read_bytes() == (alone / "submissions/tiny.csv").read_bytes()
    assert (killed / "runs/tiny/oof.csv").read_bytes() == (alone / "runs/tiny/oof.csv").read_bytes()


def test_without_postprocessing_the_cv_is_of_what_is_handed_in(finished, tmp_path):
    """The clip is part of the submission, so it is part of the CV."""
    _, workspace, _ = finished
    competition = (Path("configs/competitions/digits.yaml")).read_text()
    competition = competition.replace("metric: accuracy", "metric: log_loss").replace(
        "format: label", "format: probabilities"
    )
    (tmp_path / "digits.yaml").write_text(competition)
    described = Competition.load(tmp_path / "digits.yaml")
    oof = read_rows(workspace.run("tiny") / "oof.csv")
    alone = {image_id: k for k, image_id in enumerate(oof["image_id"])}
    scored = HandIn(described, Ensemble(clip=0.2, postprocess="none"), alone).scored(oof)
    found = cross_validation(scored, described)["metrics"]["log_loss"]["pooled"]
    clipped = predictions(oof, described).clip(0.2, 0.8)
    expected = -np.log(
        (clipped / clipped.sum(axis=1, keepdims=True))[np.arange(len(oof)), targets(oof, described)]
    ).mean()
    assert found == pytest.approx(expected)


def test_a_run_is_no_better_than_itself_and_worse_than_one_that_knows(finished, tmp_path, capsys):
    import shutil

    _, workspace, _ = finished
    same = compare.compare(Run.named("tiny", workspace), Run.named("tiny", workspace))
    assert same.verdict == "not distinguishable"
    assert same.differences["accuracy"].value == 0
    copy = Workspace(tmp_path)
    shutil.copytree(workspace.root, copy.root, dirs_exist_ok=True, symlinks=True)
    shutil.copytree(copy.run("tiny"), copy.run("knows"))
    columns = [f"prob_{k}" for k in range(10)]
    for fold in (0, 1):
        path = fold_folder(copy, "knows", fold) / "oof.csv"
        table = read_rows(path)
        truth = np.eye(10)[table[TARGET].astype(int)] * 0.9 + 0.01
        table[columns] = np.where(np.arange(len(table))[:, None] % 2 == 0, truth, table[columns])
        table.to_csv(path, index=False)
    better = compare.compare(Run.named("tiny", copy), Run.named("knows", copy))
    assert better.verdict == "knows is better"
    assert better.differences["accuracy"].interval[0] > 0 > better.differences["log_loss"].interval[1]
    assert "knows against tiny, paired on 200 OOF images" in capsys.readouterr().out
    with pytest.raises(ConfigError, match=r"no such run \(did you mean 'knows'\?\)"):
        compare.compare(Run.named("tiny", copy), Run.named("know", copy))


def test_run_with_the_full_fold_alone(tiny, workspace, digits):
    experiment = tiny("train.epochs=1")
    result = run_pipeline(experiment, workspace, digits, folds="full")
    assert result.cv is None
    assert result.num_rows == 50
    assert not (workspace.run("tiny") / "fold_0").exists()
    with pytest.raises(ConfigError, match=r"--fold 0: ensemble\.models is full"):
        run_pipeline(tiny("ensemble.members=full"), workspace, digits, folds="0")


def test_twins_across_train_and_test_are_found_and_what_they_add(tmp_path, tiny, digits, capsys):
    """Ten test pictures replaced by training ones: split warns, ensemble says the score with and without them."""
    folder = tmp_path / "twins"
    folder.mkdir()
    with zipfile.ZipFile(digits / "train.zip") as archive:
        pictures = {name: archive.read(name) for name in archive.namelist() if name.endswith(".jpg")}
    with zipfile.ZipFile(digits / "test1.zip") as source, zipfile.ZipFile(folder / "test1.zip", "w") as target:
        names = [name for name in source.namelist() if name.endswith(".jpg")]
        for number, name in enumerate(names):
            target.writestr(name, list(pictures.values())[number] if number < 10 else source.read(name))
    for file in ("train.zip", "sampleSubmission.csv"):
        (folder / file).write_bytes((digits / file).read_bytes())
    experiment, workspace = tiny("name=twins", "train.epochs=8"), Workspace(tmp_path / "w")
    _prepare(experiment, workspace, folder)
    assert "10 test images near-identical to a training image" in capsys.readouterr().out
    train.train(Run.open(experiment, workspace))
    predict.predict(Run.open(experiment, workspace))
    capsys.readouterr()
    ensemble.ensemble([Run.open(experiment, workspace)])
    said = " ".join(capsys.readouterr().out.split())
    assert f"10 test images ({10 / len(names):.1%}) near-identical to a training image" in said
    expected = json.loads((workspace.run("twins") / "cv.json").read_text())["expected"]
    test = pd.read_csv(workspace.submission("twins"), dtype=str).set_index("id")["label"]
    order = [name.rsplit("/", 1)[-1].removesuffix(".jpg") for name in names[:10]]
    truth = [name.rsplit("/", 1)[-1].partition(".")[0] for name in list(pictures)[:10]]
    assert expected["twins"]["count"] == 10
    assert expected["twins"]["score"] == pytest.approx(
        np.mean([test[i] == t for i, t in zip(order, truth, strict=True)])
    )
    mixed = (1 - 10 / len(names)) * expected["value"] + 10 / len(names) * expected["twins"]["score"]
    assert expected["twins"]["expected"] == pytest.approx(mixed)
