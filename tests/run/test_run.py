"""A run under its old and new keys, on another machine, renamed: what is done stays done, what changed is said."""

import json
import shutil

import pytest
import torch
import yaml
from machine import DEVICE

from kit.config import OLD_SPELLINGS, Experiment
from kit.errors import ConfigError, KitError
from kit.models import build_model
from kit.run.run import Run
from kit.schema import dump_yaml
from kit.stages.download import download
from kit.stages.ensemble import ensemble
from kit.stages.index import index
from kit.stages.predict import predict
from kit.stages.split import split
from kit.stages.train import train
from kit.tools.runs import runs
from kit.training.workload import overruns_memory
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


def test_the_same_weights_file_at_another_path_is_the_same_run(place, tiny, tmp_path, capsys):
    (tmp_path / "w.pth").write_bytes(b"")
    torch.save(build_model("resnet18", 5, width=0.125, stem="small").state_dict(), tmp_path / "w.pth")
    train(Run.open(tiny("name=elsewhere", "train.epochs=1", f"model.weights={tmp_path / 'w.pth'}"), place), [0])
    shutil.move(tmp_path / "w.pth", tmp_path / "elsewhere.pth")
    capsys.readouterr()
    again = tiny("name=elsewhere", "train.epochs=1", f"model.weights={tmp_path / 'elsewhere.pth'}")
    train(Run.open(again, place), [0])
    assert "fold 0 is up to date" in capsys.readouterr().out
    torch.save(build_model("resnet18", 5, width=0.125, stem="small").state_dict(), tmp_path / "elsewhere.pth")
    other = tiny("name=elsewhere", "train.epochs=1", f"model.weights={tmp_path / 'elsewhere.pth'}")
    with pytest.raises(KitError, match="holds a training on other images or weights"):
        train(Run.open(other, place), [0])


def test_old_spellings_are_read_in_configs_and_overrides(tmp_path):
    file = tmp_path / "old.yaml"
    file.write_text("competition: digits\nmachine:\ntrain: {precision: bf16, num_workers: 3}\ntta: {compile: false}\n")
    experiment = Experiment.load(file, ["tta.precision=fp32", "train.num_threads=2", "ensemble.members=full"])
    machine = experiment.machine
    assert (machine.precision, machine.num_workers, machine.num_threads) == ("bf16", 3, 2)
    assert (machine.predict_precision, machine.predict_compile) == ("fp32", False)
    assert experiment.ensemble.models == "full"
    section = Experiment.load(file, ["train={epochs: 3, precision: fp16}"])
    assert (section.train.epochs, section.machine.precision) == (3, "fp16")
    file.write_text("competition: digits\ntrain: {precision: bf16}\nmachine: {precision: fp32}\n")
    with pytest.raises(ConfigError, match=r"train\.precision is the old spelling of machine\.precision, and both are"):
        Experiment.load(file)


def test_a_fold_that_has_begun_keeps_how_it_computes_and_the_next_take_the_change(place, tiny, capsys):
    asked = tiny("name=moved", "train.epochs=1", "model.options.width=0.25")
    train(Run.open(asked, place), [0])
    moved = Run.open(asked.with_machine(memory_format="channels_last", num_workers=1), place)
    capsys.readouterr()
    train(moved)
    said = capsys.readouterr().out
    assert "goes on as it was made: fp32, channels_last, 1 thread" in said
    assert "fold 0 keeps the settings it began with: fp32, contiguous, 1 thread" in said
    assert "fold 0 is up to date" in said
    predict(moved)
    ensemble([moved])
    cv = json.loads(moved.files.cv.read_text())
    assert cv["machine"]["moved"] == {"fold 0": "fp32, contiguous, 1 thread", "fold 1": "fp32, channels_last, 1 thread"}
    train(Run.open(asked.with_machine(memory_format="auto"), place))
    assert capsys.readouterr().out.count("is up to date") == 2, "what is left open is as it was settled"


@pytest.mark.skipif(DEVICE.type != "cpu", reason="GPUs have instructions for fp16")
def test_a_run_from_another_machine_says_so_with_the_way_out(place, tiny, capsys, monkeypatch):
    """Begun where bf16 is native (a T4's fp16 is the same case), continued where it is emulated."""
    train(Run.open(tiny("name=t4", "train.epochs=1", "machine.precision=fp16"), place), [0])
    said = " ".join(capsys.readouterr().out.split())
    assert "the CPU has no instructions for fp16: many times slower than" in said
    run = Run.open(tiny("name=t4", "train.epochs=1", "machine.precision=fp16"), place)
    made = json.loads(run.files.environment.read_text())
    run.files.environment.write_text(json.dumps(made | {"processor": "Tesla T4", "images_per_second": 1e9}))
    monkeypatch.setenv("KIT_NO_BF16", "1")
    train(run, [0, 1])
    said = " ".join(capsys.readouterr().out.split())
    assert "the run was made on Tesla T4; this is" in said
    assert "--set machine.precision=fp32 computes in fp32; a fold that has begun goes on as it is, or anew" in said
    assert "at 1,000,000,000 images/s" not in said, "the estimate is of this machine"
    train(Run.open(tiny("name=t4", "train.epochs=1"), place), [0])  # as advised; what is finished stays
    assert "fold 0 is up to date" in capsys.readouterr().out
    predict(run)
    told = Run.open(tiny("name=t4", "train.epochs=1", "machine.predict_precision=bf16"), place)
    capsys.readouterr()
    predict(told)
    assert "--set machine.predict_precision=fp32 computes in fp32" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["tta.views=[{scale: 1.5}]"],
            r"tta\.views: timm:vit_tiny_patch16_224 cannot take the 48 px that a view shows",
        ),
        (["model.options={}"], r"does not run at 32 px: .*; --set model\.options\.img_size=32 builds it for that"),
        (["model.start=nowhere"], r"model\.start: .*nowhere: no such run; train nowhere first"),
    ],
)
def test_what_cannot_train_or_predict_is_refused_before_a_run_is_made(place, tiny, settings, message):
    vit = ["name=refused", "data.image_size=32", "model.name=timm:vit_tiny_patch16_224", "model.options={img_size: 32}"]
    run = Run.open(tiny(*vit, "data.cache_size=32", *settings), place)
    with pytest.raises(KitError, match=message):
        train(run, [0])
    assert not run.exists


def test_another_experiment_under_the_same_name_is_refused(place, tiny):
    train(Run.open(tiny("name=taken", "train.epochs=1"), place), [0])
    with pytest.raises(ConfigError, match=r"made by a different experiment \(train\.batch_size: 32 -> 16\)"):
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


def test_two_that_begin_a_run_at_once_make_it_once(place, tiny):
    """Both looked before either had made it; the second goes on as the first one settled it."""
    open_ = tiny("name=raced", "train.epochs=1", "machine.memory_format=auto", "machine.num_threads=null")
    first, second = Run.open(open_, place), Run.open(open_, place)
    assert second.experiment.machine.memory_format == "auto"
    train(first, [0])
    train(second, [1])
    frozen = Experiment.load(first.files.experiment).machine
    assert frozen.memory_format in {"channels_last", "contiguous"}
    assert isinstance(frozen.num_threads, int)
    assert second.fold(1).computing == first.fold(0).computing


@pytest.mark.parametrize(
    ("settings", "error"),
    [(("model.name=nosuch",), "no network 'nosuch'"), (("data.split_seed=9",), "type `kit split` first")],
)
@pytest.mark.parametrize("mode", ["network", "features"])
def test_what_cannot_be_trained_leaves_no_run(place, tiny, mode, settings, error):
    name = f"never-{mode}-{settings[0][:5].replace('.', '')}"
    run = Run.open(tiny(f"name={name}", f"train.mode={mode}", *settings), place)
    if mode == "features":
        run = Run.open(tiny(f"name={name}", f"train.mode={mode}", "data.num_folds=3", *settings), place)
        split(Run.open(tiny("data.num_folds=3"), place))
    with pytest.raises(KitError, match=error):
        train(run)
    assert not run.exists
    assert not run.files.environment.is_file()
    with pytest.raises(ConfigError, match="--on elsewhere: no such place"):
        train(run, on="elsewhere")


def test_another_number_format_is_held_against_fp32_before_it_trains(place, tiny, monkeypatch):
    asked = tiny("name=checked", "train.epochs=1")
    train(Run.open(asked, place), [0])
    monkeypatch.setattr(
        "kit.training.workload.TrainingSteps.is_right", lambda _steps, precision: precision.name == "fp32"
    )
    with pytest.raises(KitError, match="bf16, contiguous cannot train here"):
        train(Run.open(asked.with_machine(precision="bf16"), place), [1])
    assert Experiment.load(place.run("checked") / "experiment.yaml").machine.precision == "fp32"


def test_a_folder_with_an_odd_name_hides_no_other_run(place, tiny, capsys):
    train(Run.open(tiny("name=plain", "train.epochs=1"), place), [0])
    odd = place.run("plain (copy)")
    shutil.copytree(place.run("plain"), odd)
    try:
        with pytest.raises(ConfigError, match=r"'plain \(copy\)': a run's name consists of letters, digits"):
            Run.named("plain (copy)", place)
        assert "plain" in {line.name for line in runs(place)}
        assert "plain (copy)" in "".join(capsys.readouterr())
    finally:
        shutil.rmtree(odd)


def test_a_fold_made_anew_begins_its_history_anew(place, tiny):
    run = Run.open(tiny("name=anew", "train.epochs=2"), place)
    train(run, [0])
    assert len(run.fold(0).history) == 2
    assert not train(run, [0], force=True, max_hours=0).finished
    assert run.fold(0).history == []


def test_a_network_that_overruns_torchs_memory_is_contiguous(place, tiny):
    """On a CPU, a strided 1x1 convolution of 8 channels in channels_last, and a batch of 19: torch crashes."""
    odd = ("machine.precision=auto", "train.batch_size=19", "train.epochs=1", "machine.num_threads=2")
    run = Run.open(tiny("name=odd", "machine.memory_format=auto", *odd), place)
    run.device = torch.device("cpu")
    train(run, [0])
    assert run.experiment.machine.memory_format == "contiguous"
    named = Run.open(tiny("name=named", "machine.memory_format=channels_last", *odd), place)
    named.device = torch.device("cpu")
    with pytest.raises(
        ConfigError, match=r"machine.memory_format: resnet18 trains on a CPU only as contiguous or auto"
    ):
        train(named, [0])
    assert not named.files.experiment.exists()
    assert not overruns_memory(build_model("resnet18", 2, width=0.25))
