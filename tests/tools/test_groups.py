"""kit init and kit index: patients, sides, frames and copies that only the files' names tell share a fold."""

from pathlib import Path

import drawn
import pandas as pd
import pytest

from kit.competition import Competition
from kit.config import Experiment
from kit.errors import ConfigError, KitError
from kit.run.run import Run
from kit.stages import download, index, split
from kit.tools import init
from kit.workspace import Workspace

KINDS = ("cat", "dog")


def _files(folder: Path, train: list[str], test: list[str], table: bool) -> Path:
    """`train`: paths; with `table`, their classes are in a table, else the first folder is the class."""
    names = [f"train/{name}" for name in train] + [f"test/{name}" for name in test]
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(drawn.encoded(drawn.draw(number % 2, number), Path(name).suffix))
    if table:
        kinds = [KINDS[k % 2] for k in range(len(train))]
        pd.DataFrame({"image": train, "animal": kinds}).to_csv(folder / "train.csv", index=False)
    asked = pd.DataFrame({"image": [Path(n).name for n in test], "animal": "cat" if table else train[0].split("/")[0]})
    asked.to_csv(folder / "sample_submission.csv", index=False)
    return folder


def _init(folder: Path, *overrides: str, metric: str = "accuracy") -> Competition:
    made = init.init(Workspace(folder.parent), folder, name="c", metric=metric, force=True, overrides=overrides)
    return Competition.load(made.competition)


def _run(folder: Path) -> Run:
    run = Run.open(Experiment.load(folder.parent / "configs" / "c.yaml"), Workspace(folder.parent))
    download.download(run, folder)
    index.index(run)
    return run


GROUPED = {
    "sides": ([f"{n}_{side}.png" for n in range(12) for side in ("left", "right")], ["90_left.png"], True, "0"),
    "sides and views": (
        [f"Mass_P_{n:03}_{side}_{view}.png" for n in range(12) for side in ("LEFT", "RIGHT") for view in ("CC", "MLO")],
        ["Mass_P_900_LEFT_CC.png"], True, "Mass_P_000",
    ),
    "patients in a name": (
        [f"{KINDS[n % 2]}/person{n}_virus_{k}.jpg" for n in range(14) for k in (3, 11)], ["t0.jpg"], False, "person0",
    ),
    "patients' folders": (
        [f"patient{n:05}/study{k}/view1_frontal.jpg" for n in range(12) for k in (1, 2)],
        ["patient90000/study1/view1_frontal.jpg"], True, "patient00000",
    ),
    "versions": (
        [f"{KINDS[n % 2]}/IMG_{n}_jpg.rf.{k:032x}.jpg" for n in range(14) for k in (171, 4660)], ["t0.jpg"], False,
        "IMG_0_jpg",
    ),
    "frames": ([f"walk{n}_frame_{k}.png" for n in range(12) for k in (7, 8)], ["run_frame_1.png"], True, "train/walk0"),
    "copies beside their originals": (
        [f"{KINDS[n % 2]}/a{n}{copy}.png" for n in range(14) for copy in ("", "_aug_1", "_aug_2")], ["t0.png"], False,
        "train/cat/a0",
    ),
    "numbers, as the test set is apart": (
        [f"storm{chr(97 + n)}_{k:03}.png" for n in range(12) for k in (0, 1)],
        [f"other{n}_{k:03}.png" for n in range(5) for k in (0, 1)], True, "storma",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", GROUPED)
def test_what_names_say_belongs_together_shares_a_fold(tmp_path, what):
    train, test, table, first = GROUPED[what]
    files = _files(tmp_path / "files", train, test, table)
    _init(files)
    run = _run(files)
    split.split(run)
    seen = run.index.assign(fold=run.samples.folds)[run.index["split"] == "train"]
    assert seen["given_group"].iloc[0] == first
    assert seen["given_group"].nunique() == len(train) / (3 if "copies" in what else 4 if "views" in what else 2)
    assert len(seen) == len(train)
    assert (seen.groupby("given_group")["fold"].nunique() == 1).all()
    assert seen["fold"].nunique() == 5


APART = {
    "the word is the class": ([f"k{c:02}/person{c}_{k}.png" for c in range(12) for k in range(4)], ["t0.png"], False),
    "so is the word before the number": (
        [f"kind{chr(97 + c)}/kind{chr(97 + c)}_{k}.png" for c in range(12) for k in range(4)], ["t_0.png"], False,
    ),
    "one name in several folders": ([f"{kind}/{k}.png" for kind in KINDS for k in range(12)], ["t0.png"], False),
    "the test set has them, too": (
        [f"{n}_left.png" for n in range(12)] + [f"{n}_right.png" for n in range(12)],
        [f"{n}_left_b.png" for n in range(12)], True,
    ),
    "no test set bears it out": ([f"storm{chr(97 + n)}_{k}.png" for n in range(12) for k in (0, 1)], ["t0.png"], True),
    "the test set's names are of one word": (
        [f"storm{chr(97 + n)}_{k}.png" for n in range(12) for k in (0, 1)], [f"test_{k}.png" for k in range(9)], True,
    ),
    "each has one picture": ([f"patient{n}.png" for n in range(24)], ["patient90.png"], True),
    "few of them": ([f"patient{n % 4}_{n}.png" for n in range(24)], ["patient90_1.png"], True),
}  # fmt: skip


@pytest.mark.parametrize("what", APART)
def test_what_is_no_group_is_left_apart(tmp_path, what):
    assert _init(_files(tmp_path / "files", *APART[what])).labels.group_pattern is None


def test_a_pattern_may_be_given_or_declined(tmp_path):
    files = _files(tmp_path / "files", *GROUPED["sides"][:3])
    assert _init(files, "labels.group_pattern=none").labels.group_pattern is None
    given = _init(files, r"labels.group_pattern=/(?P<group>\d)").labels
    assert (given.group_pattern, given.group_column) == (r"/(?P<group>\d)", None)
    assert set(_run(files).index["given_group"]) == set("0123456789")
    with pytest.raises(ConfigError, match="group_pattern: is set beside group_column; name one of them"):
        _init(files, r"labels.group_pattern=/(?P<group>\d)", "labels.group_column=animal")


def _pictured(folder: Path, names: list[str]) -> None:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(drawn.encoded(drawn.draw(number % 2, number), ".jpg"))


def _grouped(folder: Path) -> pd.Series:
    run = _run(folder)
    split.split(run)
    seen = run.index.assign(fold=run.samples.folds)[run.index["split"] == "train"].set_index("image_id")
    assert (seen.groupby("given_group")["fold"].nunique() == 1).all()
    return seen["given_group"]


def test_drivers_are_a_group_though_they_are_few(tmp_path):
    """State Farm: 26 drivers, in the table that says the classes' folders once more."""
    files = tmp_path / "files"
    kinds, drivers = [f"c{k % 3}" for k in range(60)], [f"p{k // 5:03}" for k in range(60)]
    _pictured(files, [f"imgs/train/{kind}/img_{k}.jpg" for k, kind in enumerate(kinds)])
    _pictured(files, [f"imgs/test/img_{k}.jpg" for k in range(90, 94)])
    table = {"subject": drivers, "classname": kinds, "img": [f"img_{k}.jpg" for k in range(60)]}
    pd.DataFrame(table).to_csv(files / "driver_imgs_list.csv", index=False)
    asked = pd.DataFrame({"img": [f"img_{k}.jpg" for k in range(90, 94)]})
    asked.assign(c0=0.3, c1=0.3, c2=0.4).to_csv(files / "sample_submission.csv", index=False)
    made = init.init(Workspace(tmp_path), files, name="c", metric="log_loss", force=True)
    assert Competition.load(made.competition).labels.group_column == "subject"
    assert _grouped(files).nunique() == 12


@pytest.mark.parametrize("layout", ["csv", "folders", "filename"])
def test_a_group_in_a_table_beside_the_labels(tmp_path, layout):
    """ISIC 2019's lesions, DrivenData's sites: a table, folders or names tell the class, another table the group."""
    files = tmp_path / "files"
    name = {"csv": "I{k}.jpg", "folders": "{kind}/I{k}.jpg", "filename": "{kind}.{k}.jpg"}[layout]
    kinds = [KINDS[k % 2] for k in range(24)]
    names = [name.format(k=k, kind=kind) for k, kind in enumerate(kinds)]
    ids = [Path(one).stem for one in names]
    _pictured(files / "train", names)
    _pictured(files / "test", [f"T{k}.jpg" for k in range(6)])
    if layout == "csv":
        pd.DataFrame({"image": ids, "animal": kinds}).to_csv(files / "GroundTruth.csv", index=False)
    meta = pd.DataFrame({"image": ids, "age": range(24), "lesion_id": [f"L{k // 2}" for k in range(24)]})
    meta.iloc[:-1].to_csv(files / "Metadata.csv", index=False)  # one picture is not there
    asked = pd.DataFrame({"image": [f"T{k}" for k in range(6)], "animal": "cat"})
    asked.to_csv(files / "sample_submission.csv", index=False)
    competition = _init(files, f"labels.layout={layout}")
    labels = competition.labels
    assert (labels.layout, labels.group_column, labels.group_id_column) == (layout, "lesion_id", "image")
    assert competition.files.train_groups == ("Metadata.csv",)
    groups = _grouped(files)
    assert groups[ids[0]] == groups[ids[1]] == "L0"
    assert groups[ids[23]] == ""
    assert groups.nunique() == 13


def test_places_that_the_test_set_lacks_are_a_group_by_any_name(tmp_path):
    files = _files(tmp_path / "files", [f"a{k}.png" for k in range(20)], [f"t{k}.png" for k in range(4)], table=True)
    table = pd.read_csv(files / "train.csv").assign(storm_id=[f"s{k % 6}" for k in range(20)])
    table.to_csv(files / "train.csv", index=False)
    assert _init(files).labels.group_column is None, "nothing says so"
    test = pd.DataFrame({"image": [f"t{k}.png" for k in range(4)], "storm_id": ["z1", "z2"] * 2})
    test.to_csv(files / "test.csv", index=False)
    assert _init(files).labels.group_column == "storm_id"
    test.assign(storm_id="s1").to_csv(files / "test.csv", index=False)
    assert _init(files).labels.group_column is None


def test_a_table_of_groups_that_fits_nothing(tmp_path):
    files = _files(tmp_path / "files", [f"a{k}.png" for k in range(20)], ["t0.png"], table=True)
    meta = pd.DataFrame({"image": [f"a{k}.png" for k in range(20)], "patient_id": [f"p{k // 2}" for k in range(20)]})
    meta.to_csv(files / "meta.csv", index=False)
    assert _init(files).labels.group_column == "patient_id"
    _run(files)
    raw = Workspace(tmp_path).raw("c") / "meta.csv"
    raw.write_text("picture,patient_id\nb1,p1\n")
    message = r"meta\.csv: has no column 'image' .*; correct `labels\.group_id_column`"
    with pytest.raises(KitError, match=message):
        index.index(Run.open(Experiment.load(tmp_path / "configs" / "c.yaml"), Workspace(tmp_path)), force=True)
    raw.write_text("image,patient_id\nb1,p1\n")
    with pytest.raises(KitError, match=r"meta\.csv: no id of 'image' is a picture \(b1; files there: train/a0\.png"):
        index.index(Run.open(Experiment.load(tmp_path / "configs" / "c.yaml"), Workspace(tmp_path)), force=True)
    with pytest.raises(ConfigError, match=r"files\.train_groups: needs labels\.group_column, and labels\.group_id_col"):
        _init(files, "labels.group_column=none", "files.train_groups=[meta.csv]")
    with pytest.raises(ConfigError, match=r"files\.train_groups: needs labels\.group_column, and labels\.group_id_col"):
        _init(files, "labels.group_column=none", "labels.group_id_column=image")


def test_a_column_that_says_the_class_again_is_no_group(tmp_path):
    files = _files(tmp_path / "files", [f"a{k}.png" for k in range(36)], [f"t{k}.png" for k in range(4)], table=True)
    kinds = [f"k{k % 6}" for k in range(36)]
    columns = {"animal": kinds, "animal_id": [f"{k % 6}" for k in range(36)]}
    pd.DataFrame({"image": [f"a{k}.png" for k in range(36)], **columns}).to_csv(files / "train.csv", index=False)
    asked = pd.DataFrame({"image": [f"t{k}.png" for k in range(4)], "animal": "k0"})
    asked.to_csv(files / "sample_submission.csv", index=False)
    for cells in ("", "-1"):
        asked.assign(animal=cells, animal_id=cells).to_csv(files / "test.csv", index=False)
        assert _init(files).labels.group_column is None
    one_hot = pd.get_dummies(pd.Series(kinds)).astype(int).assign(animal_id=columns["animal_id"])
    one_hot.insert(0, "image", [f"a{k}.png" for k in range(36)])
    one_hot.to_csv(files / "train.csv", index=False)
    asked.drop(columns="animal").assign(**dict.fromkeys(sorted(set(kinds)), 0)).to_csv(
        files / "sample_submission.csv", index=False
    )
    assert _init(files, metric="log_loss").labels.group_column is None


@pytest.mark.parametrize("what", ["animal", "person", "subject", "driver"])
def test_people_may_be_the_classes(tmp_path, what):
    files = _files(tmp_path / "files", [f"a{k}.png" for k in range(36)], ["t0.png"], table=True)
    (files / "sample_submission.csv").unlink()
    table = pd.DataFrame({"image": [f"a{k}.png" for k in range(36)], what: [f"k{k % 3}" for k in range(36)]})
    table.to_csv(files / "train.csv", index=False)
    assert (_init(files).labels.column, _init(files).labels.group_column) == (what, None)
    marks = {name: [(k >> bit) & 1 for k in range(36)] for bit, name in enumerate((what, "car", "dog", "cat"))}
    pd.DataFrame({"image": [f"a{k}.png" for k in range(36)], **marks}).to_csv(files / "train.csv", index=False)
    assert _init(files, metric="roc_auc").classes == (what, "car", "dog", "cat")


def test_a_given_group_stands_alone(tmp_path):
    files = _files(tmp_path / "files", *GROUPED["sides"][:3])
    table = pd.read_csv(files / "train.csv").assign(clinic=[f"c{k % 7}" for k in range(24)])
    table.to_csv(files / "train.csv", index=False)
    given = _init(files, "labels.group_column=clinic").labels
    assert (given.group_column, given.group_pattern) == ("clinic", None)
    assert _init(files, "labels.group_column=none").labels.group_pattern is None
    assert _init(files).labels.group_pattern is not None


def test_versions_of_one_picture_and_a_table_of_subjects(tmp_path):
    files = tmp_path / "files"
    _pictured(files / "train", [f"{kind}/v{k}.jpg" for kind in ("real", "fakea", "fakeb") for k in range(24)])
    _pictured(files / "test", [f"t{k}.jpg" for k in range(4)])
    subjects = pd.DataFrame({"image": [f"{kind}/v{k}.jpg" for kind in ("real", "fakea", "fakeb") for k in range(24)]})
    subjects.assign(subject_id=[f"s{k % 24 // 2}" for k in range(72)]).to_csv(files / "meta.csv", index=False)
    asked = pd.DataFrame({"image": [f"t{k}.jpg" for k in range(4)], "score": [0.1, 0.2, 0.3, 0.4]})
    asked.to_csv(files / "sample_submission.csv", index=False)
    options = ["labels.layout=folders", "labels.rename=real", "submission.positive=not real"]
    made = init.init(Workspace(tmp_path), files, name="c", metric="roc_auc", force=True, overrides=options)
    labels = Competition.load(made.competition).labels
    assert (labels.group_column, labels.group_pattern) == ("subject_id", None)
    assert _grouped(files).nunique() == 12


def test_a_tables_rows_may_repeat_and_not_contradict(tmp_path):
    files = _files(tmp_path / "files", [f"a{k}.png" for k in range(20)], [f"t{k}.png" for k in range(6)], table=True)
    meta = pd.DataFrame({"image": [f"im/A{k}.PNG" for k in range(20)], "patient_id": [f"p{k // 2}" for k in range(20)]})
    pd.concat([meta, meta.iloc[:1]]).to_csv(files / "meta.csv", index=False)
    assert _init(files).files.train_groups == ("meta.csv",)
    assert _grouped(files).nunique() == 10
    raw = Workspace(tmp_path).raw("c") / "meta.csv"
    raw.write_text("image,patient_id\na1.png,p1\na1.png,p2\n")
    with pytest.raises(KitError, match=r"meta\.csv: a1\.png: one picture, and several 'patient_id'"):
        index.index(Run.open(Experiment.load(tmp_path / "configs" / "c.yaml"), Workspace(tmp_path)), force=True)
    pd.DataFrame({"image": [f"t{k}.png" for k in range(6)], "patient_id": "p1"}).to_csv(
        files / "test_meta.csv", index=False
    )
    meta.assign(biopsy=1).to_csv(files / "meta.csv", index=False)
    assert _init(files).labels.group_column is None, "the test set has them, too"


def test_numbers_to_be_predicted_have_groups(tmp_path):
    files = _files(tmp_path / "files", *GROUPED["sides"][:3])
    table = pd.read_csv(files / "train.csv").assign(animal=[k / 7 for k in range(24)])
    table.to_csv(files / "train.csv", index=False)
    pd.DataFrame({"image": ["90_left.png"], "animal": [0.5]}).to_csv(files / "sample_submission.csv", index=False)
    made = init.init(Workspace(tmp_path), files, name="c", metric="rmse", force=True)
    assert "left|right" in str(Competition.load(made.competition).labels.group_pattern)
