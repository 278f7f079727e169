"""kit init on what Kaggle really serves: near misses are found, two equal readings asked about, nothing is silent."""

import json
import shutil
from pathlib import Path

import drawn
import numpy as np
import pandas as pd
import pytest

from kit.competition import Competition
from kit.config import Experiment
from kit.data.table import read_index
from kit.errors import ConfigError, KitError
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.stages import download, index
from kit.tools import init
from kit.workspace import Workspace

NUM = 20


def _write(folder: Path, text: str, encoding: str = "utf-8") -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text(text, encoding=encoding)


def _pictures(folder: Path, names, kind=lambda k: k % 2) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(drawn.encoded(drawn.draw(kind(number), number), ".png"))


@pytest.fixture
def files(tmp_path) -> Path:
    """train/a0.png ..., test/t0.png ..., train.csv (id, label), sample_submission.csv (id, label)."""
    folder = tmp_path / "files"
    _pictures(folder / "train", [f"a{k}.png" for k in range(NUM)])
    _pictures(folder / "test", [f"t{k}.png" for k in range(4)])
    _labels(folder, ["cat", "dog"] * (NUM // 2))
    _sample(folder, ["cat"] * 4)
    return folder


def _labels(folder: Path, labels, ids=None, header="id,label") -> None:
    ids = ids or [f"a{k}" for k in range(len(labels))]
    _write(folder / "train.csv", f"{header}\n" + "".join(f"{i},{one}\n" for i, one in zip(ids, labels, strict=True)))


def _sample(folder: Path, cells, header="id,label") -> None:
    _write(folder / "sample_submission.csv", f"{header}\n" + "".join(f"t{k},{c}\n" for k, c in enumerate(cells)))


def _init(folder: Path, metric: str | None = "accuracy", *overrides: str) -> Competition:
    root = folder.parent
    result = init.init(Workspace(root), folder, name="c", metric=metric, force=True, overrides=overrides)
    return Competition.load(result.competition)


def _index(folder: Path) -> pd.DataFrame:
    root = folder.parent
    run = Run.open(Experiment.load(root / "configs" / "c.yaml"), Workspace(root))
    download.download(run, folder, force=True)
    index.index(run, force=True)
    return read_index(Workspace(root).index("c")).set_index("image_id")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (lambda k: f"train/a{k}.png", ""), (lambda k: f"A{k}", "in any case"), (lambda k: f" a{k}", ""),
        (lambda k: f"a{k}.jpg", "without folders and endings"), (lambda k: f"elsewhere/a{k}", "folders"),
        (lambda k: f"CheXpert-v1/train/a{k}.png", "without the folders above theirs"),
    ],
)  # fmt: skip
def test_ids_that_are_nearly_the_files_names(files, row, said):
    _labels(files, ["cat", "dog"] * (NUM // 2), [row(k) for k in range(NUM)])
    _init(files)
    text = (files.parent / "configs" / "competitions" / "c.yaml").read_text()
    assert said in text
    table = _index(files)
    train = table[table["split"] == "train"]
    assert (train["problem"] == "").all()
    assert train.loc[row(3).strip(), ["path", "target_label"]].tolist() == ["train/a3.png", "dog"]


@pytest.mark.parametrize(
    ("ids", "names"),
    [
        ([str(k) for k in range(1, NUM + 1)], [f"{k:04d}.png" for k in range(1, NUM + 1)]),
        ([f"{k}.0" for k in range(NUM)], [f"{k}.png" for k in range(NUM)]),
        ([str(k) for k in range(NUM)], [f"img-{k:06d}.png" for k in range(NUM)]),
        ([f"e\u0301{k}" for k in range(NUM)], [f"\u00e9{k}.png" for k in range(NUM)]),
    ],
)
def test_numbers_and_letters_in_other_forms(files, ids, names):
    for file in (files / "train").iterdir():
        file.unlink()
    _pictures(files / "train", names)
    _labels(files, ["cat", "dog"] * (NUM // 2), ids)
    _init(files)
    table = _index(files)
    assert table.loc[ids[5], ["path", "target_label"]].tolist() == [f"train/{names[5]}", "dog"]


def test_a_reading_that_is_not_one_to_one_is_refused(files):
    _labels(files, ["cat", "dog"] * (NUM // 2), [f"{'xy'[k % 2]}/a{k // 2}" for k in range(NUM)])
    with pytest.raises(KitError, match=r"nearest is train\.csv, column 'id'.*several would name one file"):
        _init(files)


def test_row_numbers_are_no_ids(files):
    for file in (files / "train").iterdir():
        file.unlink()
    _pictures(files / "train", [f"{k}.png" for k in range(NUM)])
    order = [(7 * k) % NUM for k in range(NUM)]
    rows = [f"{row},{one},{['cat', 'dog'][one % 2]}" for row, one in enumerate(order)]
    _write(files / "train.csv", ",id,label\n" + "\n".join(rows) + "\n")
    assert _init(files).labels.id_column == "id"
    _write(files / "train.csv", "row,number,label\n" + "\n".join(rows) + "\n")
    with pytest.raises(ConfigError, match=r"several columns name the pictures.*--set labels\.id_column=row"):
        _init(files)
    assert _init(files, "accuracy", "labels.id_column=number").labels.id_column == "number"
    table = _index(files)
    assert [table.loc[str(k), "target_label"] for k in range(4)] == ["cat", "dog", "cat", "dog"]


def test_an_empty_cell_is_a_missing_label(files, capsys):
    _labels(files, ["cat", "dog"] * 9 + ["", "dog"])
    competition = _init(files)
    assert competition.classes == ("cat", "dog")
    assert "1 cell empty (a18): these labels are missing" in capsys.readouterr().out
    table = _index(files)
    assert table.loc["a18", ["target_label", "problem"]].tolist() == ["", "its target is not known"]


def test_hidden_files_rows_are_junk(files):
    _labels(files, ["cat", "dog"] * (NUM // 2) + ["cat"], [*(f"a{k}" for k in range(NUM)), ".DS_Store"])
    _init(files)
    assert ".DS_Store" not in _index(files).index


@pytest.mark.parametrize(
    ("cells", "sample", "task", "classes"),
    [
        (["0", "1", "0|1", "9|9", "1|9"], "0|1", "labels", ("0", "1", "9")),
        (["['cat']", "['dog']", "['cat', 'dog']", "['dog']", "['cat']"], "cat,dog", "labels", ("cat", "dog")),
        (["1", "-1", "1", "-1", "-1"], "1", "classes", ("-1", "1")),
    ],
)
def test_sets_of_labels_and_signs(files, cells, sample, task, classes):
    _labels(files, [f'"{cell}"' for cell in cells] * 4)
    _sample(files, [f'"{sample}"'] * 4)
    competition = _init(files, "f1_macro")
    assert (competition.task, competition.classes) == (task, classes)


def test_a_name_with_a_comma_or_two_labels_is_asked(files):
    _labels(files, ['"tomato, healthy"', '"tomato, blight"', '"potato, healthy"', '"potato, blight"'] * 5)
    _sample(files, ['"tomato, healthy"'] * 4)
    with pytest.raises(ConfigError, match=r"sets of words, or names\? Say which: --set task=labels .*task=classes"):
        _init(files, "f1_macro")
    assert len(_init(files, "f1_macro", "task=classes").classes) == 4
    assert _init(files, "f1_macro", "task=labels").classes == ("blight", "healthy", "potato", "tomato")


def test_the_positive_class_is_named_by_whole_words(files):
    _sample(files, [0.5] * 4, "id,category")
    with pytest.raises(ConfigError, match=r"Whose probability.*--set submission\.positive=dog"):
        _init(files, "log_loss")
    _sample(files, [0.5] * 4, "id,is_cat")
    assert _init(files, "log_loss").submission.positive == "cat"


@pytest.mark.parametrize(
    ("cells", "labels", "message"),
    [
        (["cat 0.1"] * 4, ["cat", "dog"], r"its answers \('cat 0\.1'\) hold 0\.1"),
        (["1 4 9 3"] * 4, ["cat", "dog"], r"hold 1, 3, 4"),
        (["InChI=1S/H2O/h1H2"] * 4, ["cat", "dog"], r"hold InChI=1S/H2O/h1H2; the kit writes"),
    ],
)
def test_the_samples_cells_are_evidence(files, cells, labels, message):
    _labels(files, labels * (NUM // 2))
    _sample(files, cells)
    with pytest.raises(ConfigError, match=message):
        _init(files)


def test_numbers_with_and_without_zeros_are_asked(files):
    _labels(files, ["01", "02", "03", "04"] * 5)
    _sample(files, [1, 2, 3, 4])
    with pytest.raises(ConfigError, match=r"The sample has 1, 2, 3 and 1 more, the labels 01, 02, 03"):
        _init(files)
    assert _init(files, "accuracy", "submission.values=numbers").submission.values["03"] == 3


@pytest.mark.parametrize("header", ["label,id", ",id,label", "id,label,Usage"])
def test_the_samples_id_column_is_found_by_its_cells(files, header):
    row = {"label,id": "cat,t{}", ",id,label": "{},t{},cat", "id,label,Usage": "t{},cat,Public"}[header]
    cells = [row.format(*[k] * row.count("{}")) for k in range(4)]
    _write(files / "sample_submission.csv", f"{header}\n" + "\n".join(cells) + "\n")
    submission = _init(files).submission
    assert (submission.id_column, submission.column) == ("id", "label")


def test_without_a_sample_the_test_table_tells_the_ids(files):
    (files / "sample_submission.csv").unlink()
    _write(files / "test.csv", "name,width\n" + "".join(f"t{k}.png,24\n" for k in (2, 0, 1, 3)))
    competition = _init(files)
    assert (competition.submission.id_column, competition.submission.column) == ("name", "label")
    table = _index(files)
    assert table[table["split"] == "test"].index.tolist() == ["t2.png", "t0.png", "t1.png", "t3.png"]


def test_what_is_not_used_is_named(files):
    _write(files / "sample_submission_stg2.csv", "id,label\nx,cat\n")
    _pictures(files / "masks_train", ["a0.png"])
    _write(files / "notes.csv", "a,b\n1,2\n")
    (files / "train" / "scan.tfrec").write_bytes(b"records")
    _init(files)
    text = (files.parent / "configs" / "competitions" / "c.yaml").read_text()
    assert "sample_submission_stg2.csv: another sample submission, not used" in text
    assert "notes.csv" in text
    assert "1 .tfrec in train, which the kit does not read: look for the same pictures as JPEG" in text
    assert Competition.load(files.parent / "configs" / "competitions" / "c.yaml").files.train == ("train",)


def test_groups_need_many_values_and_a_bare_word_is_asked_about(files):
    rows = [f"a{k},{['cat', 'dog'][k % 2]},{k % 2},p{k // 2}" for k in range(NUM)]
    _write(files / "train.csv", "id,label,Group,patient_id\n" + "\n".join(rows) + "\n")
    assert _init(files).labels.group_column == "patient_id"
    many = [f"a{k},{['cat', 'dog'][k % 2]},{k // 2}" for k in range(200)]
    _pictures(files / "train", [f"a{k}.png" for k in range(200)])
    _write(files / "train.csv", "id,label,location\n" + "\n".join(many) + "\n")
    with pytest.raises(ConfigError, match=r"'location' repeats \(100 values\).*labels\.group_column=none"):
        _init(files)
    assert _init(files, "accuracy", "labels.group_column=none").labels.group_column is None
    assert _init(files, "accuracy", "labels.group_column=location").labels.group_column == "location"


def test_groups_that_the_test_set_has_too_are_not_held_together(files):
    rows = [f"a{k},{['cat', 'dog'][k % 2]},s{k // 2}" for k in range(NUM)]
    _write(files / "train.csv", "id,label,site_id\n" + "\n".join(rows) + "\n")
    _write(files / "test.csv", "id,site_id\n" + "".join(f"t{k},s{k}\n" for k in range(4)))
    assert _init(files).labels.group_column is None
    _write(files / "test.csv", "id,site_id\n" + "".join(f"t{k},s9{k}\n" for k in range(4)))
    assert _init(files).labels.group_column == "site_id"


def test_the_level_of_the_class_folders(tmp_path):
    files = tmp_path / "files"
    kinds = ["cat", "dog"]
    _pictures(files / "train", [f"{kinds[k % 2]}/p{k % 3}/{k}.png" for k in range(NUM)])
    _pictures(files / "test", ["t0.png"])
    _write(files / "sample_submission.csv", "id,label\nt0,cat\n")
    competition = _init(files)
    assert (competition.labels.level, competition.classes) == (1, ("cat", "dog"))
    table = _index(files)
    assert set(table["target_label"]) == {"cat", "dog", ""}
    (files / "sample_submission.csv").unlink()
    with pytest.raises(ConfigError, match=r"Which folders are the classes\? Say which: --set labels\.level=-1"):
        _init(files)
    for kind in kinds:
        for number in range(3):
            (files / "train" / kind / f"p{number}").rename(files / "train" / kind / f"part_{number}")
    assert _init(files).classes == ("cat", "dog"), "parts are no classes"


def test_a_folder_of_one_name_is_no_class(tmp_path):
    files = tmp_path / "files"
    _pictures(files / "train", [f"n0{k % 4}/images/n0{k % 4}_{k}.png" for k in range(NUM)])
    _pictures(files / "test", ["images/t0.png"])
    _write(files / "sample_submission.csv", "id,label\nt0,n00\n")
    assert _init(files).classes == ("n00", "n01", "n02", "n03")


def test_class_folders_against_a_table(files):
    for k in range(NUM):
        file = files / "train" / f"a{k}.png"
        (files / "train" / f"k{k % 3}").mkdir(exist_ok=True)
        file.rename(files / "train" / f"k{k % 3}" / file.name)
    assert _init(files).labels.layout == "csv"  # the sample answers with its labels
    _sample(files, [0.5] * 4, "id,p")
    with pytest.raises(ConfigError, match=r"A table and the folders.*--set labels\.layout=csv .*layout=folders"):
        _init(files, "log_loss")


def test_several_test_folders_a_folder_of_validation_and_tables_for_both(tmp_path):
    files = tmp_path / "files"
    _pictures(files / "train-png", [f"a{k}.png" for k in range(NUM)])
    _pictures(files / "val", [f"v{k}.png" for k in range(4)])
    _pictures(files / "test-png", ["t0.png", "t1.png"])
    _pictures(files / "test-png-additional", ["t2.png", "t3.png"])
    _labels(files, ["cat", "dog"] * (NUM // 2))
    _write(files / "val.csv", "id,label\n" + "".join(f"v{k},{['cat', 'dog'][k % 2]}\n" for k in range(4)))
    _sample(files, ["cat"] * 4)
    competition = _init(files)
    assert competition.files.test == (("test-png", "test-png-additional"),)
    assert competition.files.train == (("train-png", "val"),)
    table = _index(files)
    assert table["split"].value_counts().to_dict() == {"train": NUM + 4, "test": 4}
    assert table.loc["v1", "target_label"] == "dog"


def test_one_table_for_both_with_a_column_that_says_which(tmp_path):
    files = tmp_path / "files"
    _pictures(files / "images", [f"a{k}.png" for k in range(NUM + 4)])
    rows = [f"a{k},{['cat', 'dog'][k % 2]},{'train' if k < NUM else 'test'}" for k in range(NUM + 4)]
    _write(files / "labels.csv", "id,label,split\n" + "\n".join(rows) + "\n")
    _write(files / "sample_submission.csv", "id,label\n" + "".join(f"a{NUM + k},cat\n" for k in range(4)))
    assert _init(files).labels.only == {"split": ("train",)}
    assert _index(files)["split"].value_counts().to_dict() == {"train": NUM, "test": 4}


def test_labels_inside_the_pictures_zip_and_one_top_folder(tmp_path):
    inside = {f"a{k}.png": drawn.encoded(drawn.draw(k % 2, k), ".png") for k in range(NUM)}
    table = "id,label\n" + "".join(f"a{k},{['cat', 'dog'][k % 2]}\n" for k in range(NUM))
    test = {f"t{k}.png": drawn.encoded(drawn.draw(k % 2, 90 + k), ".png") for k in range(4)}
    files = tmp_path / "files"
    files.mkdir()
    drawn.write_zip(files / "train.zip", {**inside, "labels.csv": table.encode()})
    drawn.write_zip(files / "test.zip", test)
    _sample(files, ["cat"] * 4)
    assert _init(files).files.train_labels == ("train.zip/labels.csv",)
    assert _index(files).loc["a3", "target_label"] == "dog"
    whole = {f"comp/train/{name}": data for name, data in inside.items()}
    whole |= {f"comp/test/{name}": data for name, data in test.items()} | {"comp/train.csv": table.encode()}
    whole["comp/sample_submission.csv"] = (files / "sample_submission.csv").read_bytes()
    other = tmp_path / "other" / "files"
    other.mkdir(parents=True)
    drawn.write_zip(other / "comp.zip", whole)
    assert _init(other).files.train == ("train",)
    assert _index(other).loc["a3", "target_label"] == "dog"


def test_classes_in_the_files_names(tmp_path):
    files = tmp_path / "files"
    _pictures(files / "train", [f"{k % 3}_{k}.png" for k in range(30)])
    _pictures(files / "test", ["t0.png"])
    _write(files / "sample_submission.csv", "id,label\nt0,2\n")
    competition = _init(files)
    assert (competition.labels.layout, competition.classes) == ("filename", ("0", "1", "2"))
    assert _index(files).loc["1_4", "target_label"] == "1"


def test_json_of_places_and_of_test_images(tmp_path):
    files = tmp_path / "files"
    _pictures(files / "train", [f"x/{k:03d}.png" for k in range(60)])
    _pictures(files / "test", [f"{k:03d}.png" for k in range(4)])
    images = [{"id": 100 + k, "file_name": f"train/x/{k:03d}.png", "seq_id": f"s{k // 3}"} for k in range(60)]
    marks = [{"id": k, "image_id": 100 + k, "category_id": k % 2} for k in range(60)]
    kinds = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    _write(files / "train.json", json.dumps({"images": images, "annotations": marks, "categories": kinds}))
    tests = [{"id": 900 + k, "file_name": f"test/{k:03d}.png"} for k in range(4)]
    _write(files / "test.json", json.dumps({"images": tests, "annotations": [], "categories": kinds}))
    _write(files / "names.json", json.dumps({"0": "a cat", "1": "a dog"}))
    _write(files / "sample_submission.csv", "Id,Category\n" + "".join(f"{900 + k},0\n" for k in range(4)))
    competition = _init(files)
    assert competition.labels.group_column == "seq_id"
    assert competition.submission.values == {"cat": 0, "dog": 1}
    table = _index(files)
    assert table.loc["107", ["given_group", "target_label"]].tolist() == ["s2", "dog"]
    assert table.loc["903", "path"] == "test/003.png"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: [p.rename(p.with_suffix(".wav")) for d in ("train", "test") for p in (f / d).iterdir()],
         r"no pictures; found .*not understood: .*20 \.wav in train, sound: make spectrograms"),
        (lambda f: [p.unlink() for p in (f / "test").iterdir()], "none for the test set"),
        (lambda f: _labels(f, ["cat", "dog"] * 10, header="id,label") or (f / "train.csv").write_text(
            (f / "train.csv").read_text() + "a3,cat\n"), r"1 of its cells stand in several rows \(a3\)"),
        (lambda f: _write(f / "sample_submission.csv", "id\nt0\n"), "a sample submission has an id and an answer"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_one_line(files, spoil, message):
    spoil(files)
    with pytest.raises(KitError, match=message) as caught:
        _init(files)
    assert "\n" not in str(caught.value)


def test_training_pictures_alone_give_a_cv_and_no_submission(files):
    """Without a test set and a sample they are no test set either."""
    (files / "sample_submission.csv").unlink()
    for file in (files / "test").iterdir():
        file.unlink()
    assert _init(files, "log_loss").files.test == ()
    assert (_index(files)["split"] == "train").all()
    overrides = ["data.num_folds=2", "data.image_size=24", "data.cache_size=24", "model.options.width=0.125"]
    overrides += ["train.epochs=1", "train.warmup_epochs=0.3", "machine.precision=fp32", "machine.compile=false"]
    experiment = Experiment.load(files.parent / "configs" / "c.yaml", overrides)
    result = run_pipeline(experiment, files.parent, files)
    assert result.submission is None
    assert np.isfinite(result.cv)


def test_a_class_of_the_sample_without_a_training_image(files, capsys):
    _write(files / "sample_submission.csv", "id,cat,dog,emu\n" + "".join(f"t{k},0.4,0.4,0.2\n" for k in range(4)))
    assert _init(files, "log_loss").classes == ("cat", "dog", "emu")
    _index(files)
    assert capsys.readouterr().out.count("no training image has the class emu, which the sample asks for") == 2


def test_readme_in_a_folder_of_pictures_is_no_row(tmp_path):
    files = tmp_path / "files"
    _pictures(files / "train", [f"{['cat', 'dog'][k % 2]}/{k}.png" for k in range(NUM)])
    _pictures(files / "test", ["0.png", "1.png"])
    _write(files / "test" / "README.txt", "hello")
    _write(files / "sample_submission.csv", "id,label\n0,cat\n1,cat\n")
    _init(files)
    table = _index(files)
    assert table[table["split"] == "test"].index.tolist() == ["0", "1"]


def test_a_folder_of_training_pictures_is_no_wrapping(tmp_path):
    files = tmp_path / "files"
    _pictures(files / "train", [f"train_{['cat', 'dog'][k % 2]}.{k}.png" for k in range(NUM)])
    _write(files / "train" / "notes.csv", "a\n1\n")
    assert _init(files).files.train == ("train",)


def test_several_sources_of_one_class(tmp_path):
    """As in steganalysis: the same photographs in every folder, one of them untouched, one probability to hand in."""
    folder = tmp_path / "files"
    sources = ["Cover", "JMiPOD", "UERD"]
    for source in sources:
        _pictures(folder / source, [f"{k:03}.png" for k in range(20)])
    _pictures(folder / "Test", [f"t{k}.png" for k in range(4)])
    _write(folder / "sample_submission.csv", "Id,Label\n" + "".join(f"t{k}.png,0.{k}\n" for k in range(1, 4)))
    with pytest.raises(ConfigError, match=r"which stands alone\? Say which: --set labels.rename=Cover"):
        _init(folder, "roc_auc")
    competition = _init(folder, "roc_auc", "labels.rename=Cover", "submission.positive=not Cover")
    assert competition.classes == ("Cover", "not Cover")
    table = _index(folder)
    train = table[table["split"] == "train"]
    assert train["target_label"].value_counts().to_dict() == {"not Cover": 40, "Cover": 20}
    assert train["given_group"].nunique() == 20  # a photograph's three versions
    assert (train.groupby("given_group").size() == 3).all()
    for wrong in ("{Cover", "{Cover, UERD}"):
        with pytest.raises(ConfigError, match=r"--set labels.rename=\{Cover.*expected \{WORD: CLASS, \.\.\.\}"):
            _init(folder, "roc_auc", f"labels.rename={wrong}")
    mapping = "labels.rename={JMiPOD: altered, UERD: altered}"
    assert _init(folder, "roc_auc", mapping, "submission.positive=altered").classes == ("Cover", "altered")


def test_codes_and_names_in_a_json(files):
    """The labels' words are not the sample's, and a JSON leads from one to the other, either way round."""
    (files / "codes.json").write_text(json.dumps({"cat": 7, "dog": 3}))
    _sample(files, ["3"] * 4)
    competition = _init(files)
    assert competition.classes == ("cat", "dog")
    assert dict(competition.submission.values) == {"cat": 7, "dog": 3}
    (files / "codes.json").write_text(json.dumps({"a7": "cat", "a3": "dog"}))  # called as two of the pictures
    assert _init(files, "accuracy", "submission.values=labels").classes == ("cat", "dog")
    _labels(files, ["n01", "n02"] * (NUM // 2))
    (files / "codes.json").write_text(json.dumps({"n01": "cat", "n02": "dog"}))
    _sample(files, ["dog"] * 4)
    assert _init(files).classes == ("cat", "dog")
    assert _index(files)["target_label"].tolist()[:3] == ["cat", "dog", "cat"]
    (files / "codes.json").write_text(json.dumps([{"name": "dog", "id": "n02"}, {"name": "cat", "id": "n01"}]))
    _write(files / "sample_submission.csv", "id,cat,dog\n" + "".join(f"t{k},0.5,0.5\n" for k in range(4)))
    assert _init(files, "log_loss").classes == ("cat", "dog")
    assert _index(files)["target_label"].tolist()[:3] == ["cat", "dog", "cat"]


@pytest.mark.parametrize(
    "test", [["t2.png", "t0.png"], [{"image": "t2.png", "size": 3}, {"image": "t0.png", "size": 4}]]
)
def test_a_json_list_of_the_test_images(files, test):
    (files / "sample_submission.csv").unlink()
    (files / "test.json").write_text(json.dumps(test))
    _init(files)
    table = _index(files)
    assert table[table["split"] == "test"].index.tolist() == ["t2.png", "t0.png"]


@pytest.mark.parametrize("form", [dict, list])
def test_a_json_of_labels(files, form):
    labels = {f"a{k}.png": ["cat", "dog"][k % 2] for k in range(NUM)}
    (files / "train.csv").unlink()
    rows = labels if form is dict else [{"file": name, "animal": label} for name, label in labels.items()]
    (files / "train.json").write_text(json.dumps(rows))
    competition = _init(files)
    assert competition.labels.column == ("label" if form is dict else "animal")
    table = _index(files)
    assert table[table["split"] == "train"]["target_label"].tolist() == list(labels.values())


def test_a_folder_for_each_patient_within_the_class_stays_in_one_fold(tmp_path):
    folder = tmp_path / "files"
    _pictures(folder / "train", [f"{('cat', 'dog')[p % 2]}/p{p}/{k}.png" for p in range(14) for k in range(3)])
    _pictures(folder / "test", [f"t{k}.png" for k in range(4)])
    _sample(folder, ["cat"] * 4)
    _init(folder)
    table = _index(folder)
    train = table[table["split"] == "train"]
    assert train["given_group"].nunique() == 14
    assert train["given_group"].iloc[0] == "train/cat/p0/"


def test_latest_is_no_test(files):
    """Whole words count."""
    (files / "train.csv").rename(files / "train_latest.csv")
    competition = _init(files)
    assert competition.files.train_labels == ("train_latest.csv",)
    assert not competition.files.test_ids


def test_the_class_before_the_number_in_a_files_name(tmp_path):
    folder = tmp_path / "files"
    _pictures(folder / "train", [f"{k % 3}_{40 + k}.png" for k in range(NUM)], kind=lambda k: k % 3)
    _pictures(folder / "test", [f"t{k}.png" for k in range(4)])
    _sample(folder, ["2"] * 4)
    assert _init(folder).classes == ("0", "1", "2")
    assert _index(folder).loc["2_45", "target_label"] == "2"


def test_parts_of_a_training_set_are_joined_and_copies_of_it_are_not(files):
    """Bengali's train_image_data_0 to _3; but train_256 and train_512 are the same pictures twice."""
    for part, which in ((2, range(10, NUM)), (10, range(10))):
        (files / f"train_{part}").mkdir()
        for k in which:
            (files / "train" / f"a{k}.png").rename(files / f"train_{part}" / f"a{k}.png")
    (files / "train").rmdir()
    assert _init(files).files.train == (("train_2", "train_10"),)
    for k in range(10):
        shutil.copy(files / "train_10" / f"a{k}.png", files / "train_2")
    for k in range(10, NUM):
        shutil.copy(files / "train_2" / f"a{k}.png", files / "train_10")
    assert _init(files).files.train == ("train_2",)


def test_a_picture_that_a_container_lacks_is_a_problem_of_its_own(files):
    pictures = {f"a{k}": np.full((8, 8), 20 * k % 255, np.uint8) for k in range(NUM)}
    shutil.rmtree(files / "train")
    np.savez(files / "train.npz", **{name: one for name, one in pictures.items() if name != "a7"})
    _init(files)
    run = Run.open(Experiment.load(files.parent / "configs" / "c.yaml"), Workspace(files.parent))
    download.download(run, files)
    index.index(run)
    known = run.index.set_index("image_id")["problem"]
    assert known["a7"] == "no such file"
    assert (known.drop("a7") == "").all()


def test_train_and_val_are_no_classes(tmp_path):
    """chest_xray/train/NORMAL, val/NORMAL, test/NORMAL."""
    folder = tmp_path / "files" / "chest_xray"
    for split, count in (("train", 8), ("val", 2), ("test", 4)):
        for number, name in enumerate(("NORMAL", "PNEUMONIA")):
            _pictures(folder / split / name, [f"{split}{k}.png" for k in range(count)], lambda k, number=number: number)
    competition = _init(tmp_path / "files")
    assert (competition.labels.layout, competition.labels.level) == ("folders", -1)
    assert competition.classes == ("NORMAL", "PNEUMONIA")
    index = _index(tmp_path / "files")
    assert (index["split"] == "train").sum() == 20
    for name in competition.classes:
        mine = index[index["path"].str.contains(f"/{name}/")]
        assert mine["target_label"].tolist() == [name] * 14, "those of the test set are known, too"


def test_of_two_names_for_a_picture_the_sample_asks_for_one(files):
    ids = [f"a{k}" for k in range(NUM)]
    rows = pd.DataFrame({"label": ["cat", "dog"] * (NUM // 2), "file_name": [f"{i}.png" for i in ids], "key": ids})
    rows.to_csv(files / "train.csv", index=False)
    asked = [f"t{k}" for k in range(4)]
    pd.DataFrame({"file_name": [f"{i}.png" for i in asked], "key": asked}).to_csv(files / "test.csv", index=False)
    pd.DataFrame({"Id": asked, "Predicted": "cat"}).to_csv(files / "sample_submission.csv", index=False)
    assert _init(files).labels.id_column == "key"
    assert _index(files).loc["a3", "target_label"] == "dog"


def test_without_a_sample_the_folders_tell_the_target_column(tmp_path):
    """GTSRB: class folders, a table that repeats them among other numbers, and one with the test set's answers."""
    folder = tmp_path / "files"
    tables = {}
    for split, count in (("Train", 6), ("Test", 3)):
        names = [f"{c}/000{c}_{k}.png" if split == "Train" else f"{c}{k}.png" for c in range(3) for k in range(count)]
        _pictures(folder / split, names)
        classes = [c for c in range(3) for _ in range(count)]
        paths = [f"{split}/{name}" for name in names]
        tables[split] = pd.DataFrame({"Width": 24, "Roi": range(len(names)), "ClassId": classes, "Path": paths})
        tables[split].to_csv(folder / f"{split}.csv", index=False)
    competition = _init(folder)
    assert (competition.labels.id_column, competition.labels.column) == ("Path", "ClassId")
    assert (competition.task, competition.classes) == ("classes", ("0", "1", "2"))
    assert competition.files.test_labels == ("Test.csv",)
    index = _index(folder)
    known = index[index["split"] == "test"]["target_label"].astype(str).tolist()
    assert known == tables["Test"]["ClassId"].astype(str).tolist()
    tables["Test"].assign(ClassId=0).to_csv(folder / "Test.csv", index=False)  # one value throughout fills the column
    assert _init(folder).files.test_labels == ()


def test_a_table_with_the_samples_columns_is_meant_where_its_ids_are_no_files(files):
    """Folders are not taken for classes then: experiments, plates."""
    for k in range(NUM):
        target = files / "train" / ["e1", "e2"][k % 2] / f"w{k}.png"
        target.parent.mkdir(exist_ok=True)
        (files / "train" / f"a{k}.png").rename(target)
    _labels(files, ["cat", "dog"] * (NUM // 2), [f"e{k % 2 + 1}_B{k}_x" for k in range(NUM)])
    with pytest.raises(KitError, match=r"e1_B0_x.*train\.csv has the sample's 'label', so no folder tells the class"):
        _init(files)
    (files / "sample_submission.csv").write_text("id,label\nt0,e1\nt1,e1\nt2,e1\nt3,e1\n")
    assert _init(files, "accuracy", "labels.layout=folders").classes == ("e1", "e2")


@pytest.mark.parametrize("by_row", [False, True])
def test_boxes_and_masks_are_said_to_be_none_of_the_kits(files, by_row):
    random = np.random.default_rng(0)
    places = [" ".join(map(str, random.integers(1, 9000, 4))) for _ in range(2 * NUM)]
    if by_row:
        ids = [f"a{k}.png_{name}" for k in range(NUM) for name in ("Fish", "Sugar")]
        _labels(files, [one if k % 3 else "" for k, one in enumerate(places)], ids, "Image_Label,EncodedPixels")
        asked = [f"t{k}.png_{name},1 1" for k in range(4) for name in ("Fish", "Sugar")]
        _write(files / "sample_submission.csv", "Image_Label,EncodedPixels\n" + "\n".join(asked) + "\n")
    else:
        _labels(files, [f"n0201 {one}" for one in places[:NUM]], header="id,PredictionString")
        _sample(files, [""] * 4, "id,PredictionString")
    with pytest.raises(KitError, match=r"boxes or masks\. The kit tells what a whole picture shows"):
        _init(files, None)


def test_paths_that_begin_above_the_pictures_folder(files):
    """CheXpert: every picture is called alike, and the table's paths begin a folder above."""
    for k in range(NUM):
        target = files / "train" / f"patient{k}" / "view1.png"
        target.parent.mkdir()
        (files / "train" / f"a{k}.png").rename(target)
    _labels(files, ["cat", "dog"] * (NUM // 2), [f"CheXpert-v1.0/train/patient{k}/view1.png" for k in range(NUM)])
    assert _init(files).labels.id_column == "id"
    index = _index(files)
    paths = dict(zip(index["path"], index["target_label"], strict=True))
    assert all(paths[f"train/patient{k}/view1.png"] == ["cat", "dog"][k % 2] for k in range(NUM))


def test_folders_that_differ_in_their_number_alone_are_parts_of_one(files):
    """HAM10000_images_part_1 and _2 beside a table: no classes."""
    for k in range(NUM):
        target = files / f"images_part_{k % 2 + 1}" / f"a{k}.png"
        target.parent.mkdir(exist_ok=True)
        (files / "train" / f"a{k}.png").rename(target)
    (files / "train").rmdir()
    (files / "train.csv").rename(files / "metadata.csv")
    (files / "sample_submission.csv").unlink()  # it would tell
    shutil.rmtree(files / "test")
    competition = _init(files)
    assert competition.files.train == (("images_part_1", "images_part_2"),)
    assert (competition.labels.layout, competition.classes) == ("csv", ("cat", "dog"))
    assert (_index(files)["split"] == "train").sum() == NUM


def test_folders_by_number_are_classes_where_no_table_is(tmp_path):
    folder = tmp_path / "files"
    for number in range(3):
        _pictures(folder / f"c{number}", [f"{number}{k}.png" for k in range(7)], lambda k, number=number: number)
    _pictures(folder / "test" / "c0", [f"t{k}.png" for k in range(4)])
    competition = _init(folder)
    assert (competition.labels.layout, competition.classes) == ("folders", ("c0", "c1", "c2"))
    index = _index(folder)
    assert (index["split"] == "train").sum() == 21
    unknown = index[index["split"] == "test"]["target_label"].fillna("")
    assert (unknown == "").all(), "a folder of all test pictures says nothing of their class"


def test_classes_of_as_many_numbered_pictures_are_no_samples_of_several(tmp_path):
    folder = tmp_path / "files"
    for number, name in enumerate(("cat", "dog")):
        _pictures(folder / "train" / name, [f"{name}.{k}.png" for k in range(10)], lambda k, number=number: number)
    _pictures(folder / "test", [f"{k}.png" for k in range(4)])
    competition = _init(folder)
    assert competition.pictures is None
    assert competition.classes == ("cat", "dog")


def test_validation_pictures_without_class_folders_are_left_out(tmp_path, capsys):
    """Tiny ImageNet: val/images, whose labels are in a text file."""
    folder = tmp_path / "files"
    for number, name in enumerate(("n01", "n02")):
        _pictures(folder / "train" / name / "images", [f"{name}_{k}.png" for k in range(9)], lambda k, n=number: n)
    for split in ("val", "test"):
        _pictures(folder / split / "images", [f"{split}_{k}.png" for k in range(6)])
    competition = _init(folder)
    assert "val: no folders of classes there, left out" in " ".join(capsys.readouterr().out.split())
    assert competition.files.train == ("train",)
    assert competition.classes == ("n01", "n02")
    index = _index(folder)
    assert (index["split"] == "train").sum() == 18
    assert (index[index["split"] == "test"]["target_label"].fillna("") == "").all()


def test_a_row_per_box_is_said(files):
    rows = [f"a{k},{box},1,9,9,cat" for k in range(NUM) for box in range(2)]
    _write(files / "train.csv", "id,x_min,y_min,x_max,y_max,label\n" + "\n".join(rows) + "\n")
    with pytest.raises(KitError, match=r"x_min, y_min, x_max and 1 more: a row per box"):
        _init(files)


@pytest.mark.parametrize(
    ("codes", "asked"),
    [
        ([f"{k:02d}a{k:03d}b{k:05d}" for k in range(5)], "37c7aba965a5 114207cab555 a6e325d8e924"),
        ([f"w_{k:02d}a{k:04d}" for k in range(5)], "w_ff88ec8 w_1287fbc w_98baff9"),
    ],
)
def test_codes_that_no_training_image_shows_tell_the_column(files, codes, asked, capsys):
    """Of individuals many are seen once; a table that is a part of them may lack all that the sample names."""
    table = pd.DataFrame({"id": [f"a{k}" for k in range(NUM)], "species": ["cat", "dog"] * (NUM // 2)})
    table.assign(individual_id=[codes[k % 5] for k in range(NUM)]).to_csv(files / "train.csv", index=False)
    _sample(files, [asked] * 4, "id,predictions")
    competition = _init(files, "map@3")
    assert (competition.labels.column, competition.submission.format) == ("individual_id", "top_k")
    assert "no training image shows them" in capsys.readouterr().out
    renamed = table.assign(predictions=[str(1000 + k % 5) for k in range(NUM)])  # numbers go by the column's name
    renamed.to_csv(files / "train.csv", index=False)
    _sample(files, ["36363 53586 18807"] * 4, "id,predictions")
    assert _init(files, "map@3").labels.column == "predictions"
    _sample(files, ["1 409600 cat"] * 4, "id,predictions")
    with pytest.raises((ConfigError, KitError)):
        _init(files, "map@3")


def test_columns_of_marks_without_a_sample(files):
    """CelebA, ISIC 2019: all that a table holds are classes, set or not."""
    (files / "sample_submission.csv").unlink()
    shutil.rmtree(files / "test")
    random = np.random.default_rng(0)
    marks = pd.DataFrame(random.choice([-1, 1], (NUM, 3)), columns=["Smiling", "Male", "Young"])
    marks.insert(0, "id", [f"a{k}" for k in range(NUM)])
    marks.to_csv(files / "train.csv", index=False)
    competition = _init(files, "log_loss")
    assert (competition.task, competition.labels.wide, competition.classes) == (
        "labels",
        True,
        tuple(marks.columns[1:]),
    )
    one = np.arange(NUM) % 3
    marks[["Smiling", "Male", "Young"]] = (one[:, None] == np.arange(3)).astype(float)
    marks.to_csv(files / "train.csv", index=False)
    assert _init(files, "log_loss").task == "classes"


def test_several_answers_in_a_row_per_question_are_said(files):
    names = [f"t{k}_{part}" for k in range(4) for part in ("l1", "l2")]
    pd.DataFrame({"row_id": names, "mild": 0.5, "severe": 0.5}).to_csv(files / "sample_submission.csv", index=False)
    with pytest.raises(
        KitError, match=r"a row per image and l1, l2, with 2 answers \(mild, severe\): the kit writes one"
    ):
        _init(files, None)


def test_ids_that_a_json_and_the_files_share_are_counted_once(tmp_path, capsys):
    """Herbarium 2022: a JSON lists the training images by their files' names; the sample's 3 is the file 003.png."""
    folder = tmp_path / "files"
    names = [f"{k % 2:05d}__{k + 1:03d}" for k in range(NUM)]
    _pictures(folder / "train_images", [f"{name}.png" for name in names])
    _pictures(folder / "test_images", [f"{k:03d}.png" for k in range(4)])
    images = [{"image_id": name, "file_name": f"{name}.png"} for name in names]
    marks = [{"category_id": k % 2, "image_id": name} for k, name in enumerate(names)]
    kinds = [{"category_id": k, "scientificName": name} for k, name in enumerate(("alba", "rubra"))]
    held = {"images": images, "annotations": marks, "categories": kinds}
    _write(folder / "train_metadata.json", json.dumps(held))
    _write(folder / "sample_submission.csv", "Id,Predicted\n" + "".join(f"{k},1\n" for k in range(4)))
    competition = _init(folder, "f1_macro")
    assert "no cell of it names a picture" not in " ".join(capsys.readouterr().out.split())
    assert competition.classes == ("alba", "rubra")
    index = _index(folder)
    test = index[index["split"] == "test"]
    assert {str(name): path for name, path in test["path"].items()} == {
        str(k): f"test_images/{k:03d}.png" for k in range(4)
    }
