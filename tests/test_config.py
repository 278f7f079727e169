"""A wrong config is one line that names the key and helps; a right one is frozen and complete."""

import dataclasses
from pathlib import Path

import pytest

from kit import schema
from kit.competition import Competition
from kit.config import Experiment
from kit.errors import ConfigError

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("file", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda f: f.name)
def test_every_shipped_experiment_loads_with_its_competition(file):
    experiment = Experiment.load(file)
    assert experiment.name == file.stem
    Competition.load(experiment.competition)


@pytest.mark.parametrize("file", sorted((REPOSITORY / "configs" / "competitions").glob("*.yaml")), ids=lambda f: f.name)
def test_every_shipped_competition_loads(file):
    assert Competition.load(file).name == file.stem


@pytest.mark.parametrize("override", ["train.epochs=1", "data.image_size=320", "data.image_size=48"])
@pytest.mark.parametrize("file", sorted((REPOSITORY / "configs").glob("*.yaml")), ids=lambda f: f.name)
def test_what_a_newcomer_changes_first_fits_every_shipped_experiment(file, override):
    experiment = Experiment.load(file, [override])
    for one in (experiment, *experiment.members):
        assert one.train.warmup_epochs < max(one.train.epochs, 1) or one.train.mode == "features"
        assert (one.data.cache_size or one.data.image_size) >= max(one.data.image_size, one.side(0))


def test_what_follows_is_said_and_what_is_given_is_not_changed(capsys):
    quick = REPOSITORY / "configs" / "dogs-vs-cats-quick.yaml"
    short = Experiment.load(quick, ["train.epochs=2"])
    assert short.train.warmup_epochs == pytest.approx(2 * 5 / 18, abs=1e-4)
    assert "train.warmup_epochs: scaled to 0.5556, for 2 epochs (the config has 5 for 18)" in capsys.readouterr().out
    Experiment.load(quick, ["train.epochs=1"])
    assert "train.warmup_epochs: scaled to 0.2778, for 1 epoch (the config has 5 for 18)" in capsys.readouterr().out
    assert Experiment.load(quick, ["train.epochs=9"]).train.warmup_epochs == 5, "it fits"
    large = Experiment.load(quick, ["data.image_size=192"])
    assert large.data.cache_size == 224
    assert "data.cache_size: scaled to 224, for 192 px" in capsys.readouterr().out
    for given in (["train.epochs=2", "train.warmup_epochs=3"], ["data.image_size=192", "data.cache_size=180"]):
        with pytest.raises(
            ConfigError, match=r"warmup_epochs: expected less than epochs \(2\), got 3|cache_size: 180 is smaller"
        ):
            Experiment.load(quick, given)
    assert Experiment.load(quick, ["data.image_size=64"]).data.cache_size == 112, "as it always was"


def test_another_familys_options_are_left_behind(capsys):
    default = REPOSITORY / "configs" / "dogs-vs-cats.yaml"
    assert Experiment.load(default, ["model.name=timm:convnext_tiny"]).model.options == {}
    assert (
        "'shortcut': 'average'} are left out; the config has them for resnet18, not timm:convnext_tiny"
        in capsys.readouterr().out
    )
    assert Experiment.load(default, ["model.name=resnet50"]).model.options["stem"] == "deep"
    for given, options in (
        (["model.name=vgg11", "model.options={width: 0.25}"], {"width": 0.25}),
        (["model.name=vgg11", "model.options.width=0.5"], {"width": 0.5}),
        (["model.name=timm:vit_tiny_patch16_224", "model.options.img_size=112"], {"img_size": 112}),
    ):
        assert Experiment.load(default, given).model.options == options, "what is given stays"


@pytest.mark.parametrize(
    "override", ["train.sizes=[[0, big]]", "train.sizes=[3]", "train.epochs=.inf", "data.cache_size=.nan", "model=[]"]
)
def test_what_is_no_number_is_refused_not_followed(override):
    with pytest.raises(ConfigError, match=override.partition("=")[0]):
        Experiment.load(REPOSITORY / "configs" / "dogs-vs-cats.yaml", ["data.image_size=64", override])


def test_both_spellings_of_the_files_are_accepted():
    for name in ("dogs-vs-cats", "dogs-vs-cats-redux"):
        files = Competition.load(name).files
        assert {"test1.zip", "test.zip"} <= set(files.test)
        assert {"sampleSubmission.csv", "sample_submission.csv"} <= set(files.sample_submission)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.epoch=3", r"train\.epoch: no such key \(did you mean 'train\.epochs'\?\)"),
        ("trian.epochs=3", r"trian: no such key \(did you mean 'train'\?\)"),
        ("model=resnet50", r"model: holds keys of its own, for example model\.name, got 'resnet50'"),
        ("train=5", r"train: holds keys of its own, for example train\.mode, got 5"),
        ("data.image_size=0", r"data\.image_size: .*greater than or equal to 8, got 0"),
        ("train.epochs=ten", r"train\.epochs: .*valid integer, got \"ten\""),
        ("train.epochs=true", r"train\.epochs: .*valid integer, got true"),
        ("train.epochs=2.5", r"train\.epochs: .*valid integer"),
        ("train.learning_rate=.inf", r"train\.learning_rate: .*finite"),
        ("train.optimizer=adamv", r"train\.optimizer: .*'adamw', 'adam' or 'sgd'"),
        ("train.warmup_epochs=99", r"train: warmup_epochs: expected less than epochs \(\d+\), got 99"),
        ("train.schedule=step", r"step_epochs"),
        ("data.cache_size=16", r"cache_size: 16 is smaller than image_size"),
        ("data.mean=[0.5,0.5]", r"data\.mean: .*at least 3"),
        ("data.mean=[0.5,0.5,0.5]", r"give both or neither"),
        ("tta.views=[]", r"tta\.views: .*at least 1"),
        ("tta.views=[mirror]", r"tta\.views"),
        ("tta.views=[{crop: center}]", r"a crop needs a scale above 1"),
        ("name=../evil", r"name: "),
        ("train.epochs", r"expected key=value"),
        ("train.epochs=[1", r"not valid YAML"),
        ("seed.x=1", r"'seed' is a value|seed"),
        ("train.sizes=[[0, 1024]]", r"train\.sizes: 1024 px is more than the \d+ px that data\.cache_size keeps"),
        ("train.freeze_norms=true", r"train\.freeze_norms: random weights come without statistics"),
    ],
)
def test_a_wrong_override_is_one_clear_line(override, message):
    with pytest.raises(ConfigError, match=message) as caught:
        Experiment.load("configs/dogs-vs-cats-quick.yaml", [override])
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_numbers_mean_what_they_look_like():
    assert Experiment.load("demo", ["train.learning_rate=1e-4"]).train.learning_rate == 1e-4
    assert Experiment.load("demo", ["train.weight_decay=0"]).train.weight_decay == 0.0


def test_an_experiment_is_frozen():
    experiment = Experiment.load("demo")
    with pytest.raises(dataclasses.FrozenInstanceError):
        experiment.name = "other"


def test_a_written_experiment_reads_the_same(tmp_path):
    experiment = Experiment.load("demo", ["tta.views=[identity, {scale: 1.2, hflip: true}]"])
    file = tmp_path / "again.yaml"
    file.write_text(schema.dump_yaml(schema.to_mapping(experiment)))
    assert Experiment.load(file) == experiment


def test_a_missing_file_names_what_there_is():
    with pytest.raises(
        ConfigError, match=r"configs/dogs-vs-cat\.yaml: no such file.*did you mean 'dogs-vs-cats\.yaml'"
    ):
        Experiment.load("configs/dogs-vs-cat.yaml")


@pytest.mark.parametrize("text", ["- a\n- b\n", "name: [\n", "name: a\nname: b\n"])
def test_a_broken_file_is_one_line_with_its_name(tmp_path, text):
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"broken\.yaml"):
        Experiment.load(file)


@pytest.mark.parametrize(
    ("fold", "expected"),
    [
        ("2", [2]),
        ("0..4", [0, 1, 2, 3, 4]),
        ("0,2,4", [0, 2, 4]),
        ("all", [0, 1, 2, 3, 4]),
        ("full", ["full"]),
        ("1,1", [1]),
    ],
)
def test_fold_numbers(fold, expected):
    assert Experiment.load("dogs-vs-cats").fold_numbers(fold) == expected


@pytest.mark.parametrize("fold", ["9", "0..7", "x", "", "4..0", "-1", "1.5"])
def test_an_impossible_fold_is_refused(fold):
    with pytest.raises(ConfigError, match=r"--fold .*0\.\.4"):
        Experiment.load("dogs-vs-cats").fold_numbers(fold)


def _competition(tmp_path: Path, **changes) -> Path:
    raw = schema.read_mapping(REPOSITORY / "configs/competitions/dogs-vs-cats-redux.yaml") | {"name": "c"}
    for path, value in changes.items():
        node = raw
        *parents, last = path.split("__")
        for parent in parents:
            node = node[parent]
        node[last] = value
    file = tmp_path / "c.yaml"
    file.write_text(schema.dump_yaml(raw))
    return file


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"metric": "accuracy"}, r"submission\.format: accuracy needs label, not 'probability'"),
        ({"metric": "logloss"}, r"no metric 'logloss' \(did you mean 'log_loss'\?\)"),
        ({"submission__positive": "wolf"}, r"submission\.positive: should be one of cat, dog"),
        ({"labels__classes": ["cat", "dog", "wolf"]}, r"one probability column fits two classes, not 3"),
        ({"labels__classes": ["cat", "cat"]}, r"a class appears twice"),
        ({"submission__values": {"cat": 0}}, r"should name each class once"),
        ({"submission__colunm": "x"}, r"submission\.colunm: no such key \(did you mean 'submission\.column'\?\)"),
    ],
)
def test_an_impossible_competition_is_refused(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        Competition.load(_competition(tmp_path, **changes))


def test_what_is_written_is_what_is_read():
    """A class that looks like a number in YAML's eyes stays text."""
    from kit.schema import dump_yaml, parse_yaml

    raw = {"classes": ["1234567e8901", "12e4", "1e-4", "no", "null", "007", "a b", "2020-01-01"], "rate": 1e-4}
    assert parse_yaml(dump_yaml(raw), "x") == raw


def test_keys_that_came_later_change_no_hash_of_an_older_experiment(tiny):
    """A session on Kaggle is found by it, and the ledger shows it."""
    assert {"augment_strength", "searched_folds"}.isdisjoint(tiny().facts())
    assert "gpus_per_fold" not in tiny().facts()["machine"]
    changed = tiny("augment_strength=0.5", "machine.gpus_per_fold=2").facts()
    assert (changed["augment_strength"], changed["machine"]["gpus_per_fold"]) == (0.5, 2)
