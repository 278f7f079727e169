"""kit init on data sets as people upload them: no sample submission, trees in trees, masks, labelled test sets."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import drawn
import numpy as np
import pandas as pd
import pytest

from kit.competition import Competition
from kit.config import Experiment
from kit.data.images import decode
from kit.data.sources import read_bytes
from kit.errors import ConfigError, KitError
from kit.run.run import Run
from kit.stages import download, index
from kit.tools import init
from kit.workspace import Workspace

KINDS = ("cat", "dog")


def _pictures(folder: Path, names: Sequence[str], first: int = 0) -> None:
    """A picture of its own each, of the kind that its path names."""
    for number, name in enumerate(names, first):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(drawn.encoded(drawn.draw(int("dog" in name), number), ".png"))


def _table(file: Path, rows: Mapping[str, Sequence[object]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(file, index=False)


def _init(folder: Path, metric: str | None = None, *overrides: str) -> Competition:
    made = init.init(Workspace(folder.parent), folder, name="c", metric=metric, force=True, overrides=overrides)
    return Competition.load(made.competition)


def _index(folder: Path) -> pd.DataFrame:
    run = Run.open(Experiment.load(folder.parent / "configs" / "c.yaml"), Workspace(folder.parent))
    download.download(run, folder)
    index.index(run)
    return run.index


def _by_class(table: pd.DataFrame) -> dict[str, int]:
    return table[table["split"] == "train"]["target_label"].value_counts().to_dict()


@pytest.fixture
def files(tmp_path) -> Path:
    return tmp_path / "files"


def test_masks_beside_the_pictures_are_left_out(files):
    for what in ("images", "masks"):
        _pictures(files, [f"radiographs/{kind}/{what}/{kind}-{k}.png" for kind in KINDS for k in range(5)])
    competition = _init(files)
    assert (competition.files.without, competition.labels.level, competition.classes) == (("masks",), 1, KINDS)
    table = _index(files)
    assert _by_class(table) == {"cat": 5, "dog": 5}
    assert not table["path"].str.contains("masks").any()
    described = files.parent / "configs" / "competitions" / "c.yaml"
    described.write_text(described.read_text().replace("  without: [masks]\n", ""))
    assert _by_class(_index(files)) == {"cat": 10, "dog": 10}, "the index is made anew"


@pytest.mark.parametrize(
    "kinds", [("with_mask", "without_mask", "improper"), ("mask", "no_mask"), ("live", "mask", "photo", "video")]
)
def test_faces_with_and_without_masks_are_classes(files, kinds):
    _pictures(files, [f"faces/{kind}/{k}.png" for kind in kinds for k in range(5)])
    competition = _init(files)
    assert (competition.files.without, competition.classes) == ((), tuple(sorted(kinds)))
    if "live" not in kinds:
        assert _init(files / "faces").classes == tuple(sorted(kinds)), "each a folder of its own"


def test_what_the_user_leaves_out(files):
    _pictures(files, [f"photos/{kind}/{k}.png" for kind in KINDS for k in range(5)])
    _pictures(files, [f"photos/resized/{kind}/{k}.png" for kind in KINDS for k in range(5)], 20)
    competition = _init(files, None, "files.without=resized")
    assert competition.classes == KINDS
    assert _by_class(_index(files)) == {"cat": 5, "dog": 5}


def test_a_tree_in_itself(files):
    for place in ("cells", "cells/cells"):
        _pictures(files, [f"{place}/{kind}/{k}.png" for kind in KINDS for k in range(6)])
    assert _init(files).classes == KINDS


@pytest.mark.parametrize(
    "names",
    [
        [f"train/train/{kind}/{kind}{k}.png" for kind in "AB" for k in range(6)],  # a class and a number
        [f"train/train/n{kind}/n{kind}0{k}.png" for kind in range(2) for k in range(6)],
    ],
    ids=["letters", "codes"],
)
def test_numbered_files_of_a_class_are_no_shards(files, names):
    _pictures(files, names)
    assert len(_init(files).classes) == 2


def test_two_classes_without_a_sample_are_scored_by_accuracy(files):
    _pictures(files, [f"{role}/{kind}/{role}{k}.png" for role in ("train", "test") for kind in KINDS for k in range(5)])
    assert _init(files).metric == "accuracy", "nothing is handed in that could tell another"


def test_grades_in_folders(files):
    _pictures(files, [f"train/{grade}/{grade}_{k}.png" for grade in range(3) for k in range(5)])
    assert _init(files).task == "classes"
    competition = _init(files, "quadratic_weighted_kappa")
    assert (competition.task, competition.classes) == ("ordinal", ("0", "1", "2"))
    assert _by_class(_index(files)) == {"0": 5, "1": 5, "2": 5}


def test_a_labelled_test_table_and_a_number_for_each_word(files):
    """Every column of the labels is in the test table, too; `code` stands for `kind`."""
    for part, first in (("train", 0), ("test", 10)):
        ids = [f"p{k}" for k in range(first, first + 10)]
        _pictures(files, [f"images/{one}.png" for one in ids], first)
        kinds = [KINDS[k % 2] for k in range(10)]
        codes = [KINDS.index(kind) for kind in kinds]
        origin = [f"/data/{one}.png" for one in ids[:9]] + ["/data/p0.png"]
        _table(files / f"{part}.csv", {"id": ids, "original_path": origin, "code": codes, "kind": kinds, "note": ""})
    competition = _init(files)
    assert (competition.labels.column, competition.classes) == ("kind", KINDS)
    table = _index(files)
    assert table["split"].value_counts().to_dict() == {"train": 10, "test": 10}
    assert set(table[table["split"] == "test"]["target_label"]) == set(KINDS), "they score"


def test_the_column_that_says_train_is_no_target(files):
    _pictures(files, [f"images/p{k}.png" for k in range(12)])
    split = ["TRAIN" if k < 9 else "TEST" for k in range(12)]
    kinds = [KINDS[k % 2] for k in range(12)]
    _table(files / "metadata.csv", {"file": [f"p{k}.png" for k in range(12)], "Label": kinds, "part": split})
    assert _init(files).labels.column == "Label"


def test_numbers_in_the_names_are_no_classes_beside_a_table(files):
    numbers = [(a, b, c) for a in range(3) for b in range(2) for c in range(15)]
    _pictures(files, [f"data/input_{a}_{b}_{c}.png" for a, b, c in numbers])
    _table(files / "all.csv", dict(zip(("suite", "sample", "code"), zip(*numbers, strict=True), strict=True)))
    with pytest.raises(KitError, match=r"no labels found: .*nearest is all\.csv"):
        _init(files)


def test_a_text_for_each_image_is_out_of_scope(files):
    _pictures(files, [f"train/p{k}.png" for k in range(25)])
    _table(files / "train.csv", {"id": [f"p{k}" for k in range(25)], "formula": [f"C{k}H{2 * k}" for k in range(25)]})
    with pytest.raises(
        KitError, match=r"column 'formula': no two images share one of its 25 texts .*labels\.column=NAME"
    ):
        _init(files, None, "labels.column=formula")


def test_the_answers_by_site_and_the_photos_of_a_site(files):
    _pictures(files, [f"photos/p{k}.png" for k in range(12)])
    _table(
        files / "photo_info.csv",
        {"photo": [f"p{k}" for k in range(12)], "site": [k // 3 for k in range(12)], "lux": range(12)},
    )
    _table(files / "train_sites.csv", {"site": [0, 1, 2], "habitat": ["sea", "moor", "sea"]})
    _table(files / "sample_submission.csv", {"site": [3], "habitat": ["sea"]})
    with pytest.raises(
        KitError, match=r"train_sites\.csv has habitat, and photo_info\.csv names .*join them by 'site'"
    ):
        _init(files, "accuracy")


def test_sample_columns_that_say_more_than_the_labels(files):
    _pictures(files, [f"train/p{k}.png" for k in range(12)])
    _pictures(files, ["test/t0.png", "test/t1.png"], 20)
    starch = np.arange(12) / 8
    _table(files / "train.csv", {"id": [f"p{k}" for k in range(12)], "starch": starch, "water": 2 - starch})
    _table(files / "sample_submission.csv", {"id": ["t0", "t1"], "target_starch": 0.5, "target_water": 0.5})
    competition = _init(files, "rmse")
    assert competition.labels.rename == {"starch": "target_starch", "water": "target_water"}
    table = _index(files).set_index("image_id")
    assert float(table.loc["p4", "target_target_water"]) == 1.5


def test_lists_of_pictures_in_text_files(files):
    """As SCUT-FBP has them, under a folder that is called train_test_files."""
    _pictures(files, [f"Images/AF{k}.png" for k in range(12)])
    scores = [f"AF{k}.png {1 + k / 4}" for k in range(12)]
    lists = files / "train_test_files"
    lists.mkdir()
    (lists / "All_labels.txt").write_text("\n".join(scores))
    (lists / "README.txt").write_text("Scores of all images.\nMade in 2017.\nSee the paper.\n")
    (files / "notes.txt").symlink_to(files / "gone.txt")
    competition = _init(files)
    assert (competition.task, competition.files.train_labels) == ("number", ("train_test_files/All_labels.txt",))
    table = _index(files).set_index("image_id")
    assert float(table.loc["AF6.png", "target_column2"]) == 2.5


def test_classes_and_their_images_in_a_json(files):
    _pictures(files, [f"images/{kind}/{kind[0]}{k}.png" for kind in KINDS for k in range(8)])
    for part, numbers in (("train", range(6)), ("test", range(6, 8))):
        held = {kind: [f"{kind}/{kind[0]}{k}" for k in numbers] for kind in KINDS}
        (files / f"{part}.json").write_text(json.dumps(held))
    assert _init(files).classes == KINDS
    table = _index(files)
    assert _by_class(table) == {"cat": 6, "dog": 6}
    assert (table["split"] == "test").sum() == 4


def test_annotations_as_imaterialist_writes_them(files):
    """imageId, lists of labelId, no file_name; validation.json counts from 1 again."""
    for part, count in (("train", 10), ("validation", 4), ("test", 3)):
        _pictures(files, [f"{part}/{k}.png" for k in range(1, count + 1)], 20 * len(part))
        held = {"images": [{"url": f"http://x/{k}", "imageId": str(k)} for k in range(1, count + 1)]}
        if part != "test":
            held["annotations"] = [{"imageId": str(k), "labelId": ["7", "9"][: 1 + k % 2]} for k in range(1, count + 1)]
        (files / f"{part}.json").write_text(json.dumps(held))
    _table(files / "sample_submission.csv", {"image_id": [1, 2, 3], "label_id": ["7 9", "7", "7 9"]})
    competition = _init(files, "f1_micro")
    assert (competition.task, competition.classes, competition.files.train) == ("labels", ("7", "9"), ("train",))
    table = _index(files)
    assert table[table["split"] == "train"][["target_7", "target_9"]].astype(int).sum().tolist() == [10, 5]


def test_categories_ids_in_a_list_of_guesses(files):
    names = ["Corvus corax", "Rosa canina", "Amanita muscaria"]
    for part, count in (("train", 12), ("test", 3)):
        _pictures(files, [f"{part}/{part}{k}.png" for k in range(count)], 40 * len(part))
        held = {"images": [{"id": 100 * len(part) + k, "file_name": f"{part}/{part}{k}.png"} for k in range(count)]}
        if part == "train":
            held["annotations"] = [{"image_id": 500 + k, "category_id": k % 3} for k in range(count)]
            held["categories"] = [{"id": k, "name": name} for k, name in enumerate(names)]
        (files / f"{part}.json").write_text(json.dumps(held))
    _table(files / "sample_submission.csv", {"Id": [400, 401, 402], "Predicted": ["0 1 2"] * 3})
    competition = _init(files, "map@3")
    assert competition.submission.values == {name: number for number, name in enumerate(names)}
    assert competition.answers(np.array([[0, 1, 2]])).iloc[0, 0] == " ".join(
        str(names.index(name)) for name in competition.classes
    )


def test_rows_of_pixels_without_a_header_go_the_whole_way(files):
    files.mkdir()
    random = np.random.default_rng(0)
    held = {part: random.integers(0, 256, (count, 64)) for part, count in (("train", 12), ("test", 4))}
    for part, pixels in held.items():
        lines = [",".join(map(str, [1 + number % 3, *row])) for number, row in enumerate(pixels)]
        (files / f"letters-{part}.csv").write_text("\n".join(lines) + "\n")
    assert _init(files).classes == ("1", "2", "3")
    table = _index(files)
    assert _by_class(table) == {"1": 4, "2": 4, "3": 4}, "the first row is one of them"
    first = files.parent / "data" / "c" / "raw" / table["path"].iloc[0]
    np.testing.assert_array_equal(decode(read_bytes(first)).rgb[:, :, 0], held["train"][0].reshape(8, 8))


def test_a_row_that_another_repeats(files, capsys):
    _pictures(files, [f"train/p{k}.png" for k in range(10)])
    ids = [f"p{k}" for k in range(10)] + ["p3"]
    kinds = [KINDS[k % 2] for k in range(10)] + [KINDS[1]]
    _table(files / "train.csv", {"id": ids, "kind": kinds})
    assert _init(files).classes == KINDS
    assert _by_class(_index(files)) == {"cat": 5, "dog": 5}
    assert "train.csv: 1 repeated row left out" in capsys.readouterr().out


def test_tables_with_their_ending_in_capitals(files):
    _pictures(files, [f"train/p{k}.png" for k in range(10)])
    _table(files / "Labels.CSV", {"id": [f"p{k}" for k in range(10)], "kind": [KINDS[k % 2] for k in range(10)]})
    assert _init(files).classes == KINDS
    assert _by_class(_index(files)) == {"cat": 5, "dog": 5}


def test_a_keras_model_beside_the_pictures(files):
    h5py = pytest.importorskip("h5py")
    _pictures(files, [f"train/{kind}/{k}.png" for kind in KINDS for k in range(5)])
    with h5py.File(files / "model.h5", "w") as model:
        model.attrs["keras_version"] = "2.11"
        model["conv/kernel"] = np.zeros((3, 3, 3, 8))
    (files / "weights.h5").write_bytes(b"broken")
    assert _init(files).classes == KINDS


def test_the_same_table_twice_is_no_question(files):
    _pictures(files, [f"train/p{k}.png" for k in range(10)])
    for place in ("labels.csv", "copy/labels.csv"):
        _table(files / place, {"id": [f"p{k}" for k in range(10)], "kind": [KINDS[k % 2] for k in range(10)]})
    assert _init(files).files.train_labels == ("labels.csv",)


def test_an_index_column_is_not_what_the_sample_asks_for(files):
    """Without a sample there is nothing asked: pandas' nameless row numbers beside class folders."""
    _pictures(files, [f"images/{kind}/{kind}-{k}.png" for kind in KINDS for k in range(5)])
    pd.DataFrame({"pet": [11, 12, 13], "age": ["old", "young", "old"]}).to_csv(files / "pets.csv")
    assert _init(files).classes == KINDS


def test_which_level_is_still_asked(files):
    _pictures(files, [f"train/{who}/{kind}/{k}.png" for who in ("ann", "bob") for kind in KINDS for k in range(4)])
    with pytest.raises(ConfigError, match=r"Which folders are the classes\?"):
        _init(files)


def test_a_table_of_the_validation_pictures_alone(files):
    """As Tiny ImageNet has it: class folders for training, one folder and a text file for validation."""
    _pictures(files, [f"train/{kind}/images/{kind}_{k}.png" for kind in KINDS for k in range(10)])
    _pictures(files, [f"val/images/val_{k}.png" for k in range(6)], 30)
    (files / "val" / "val_annotations.txt").write_text(
        "".join(f"val_{k}.png\t{KINDS[k % 2]}\t0\t9\n" for k in range(6))
    )
    assert _init(files).classes == KINDS


def test_train_and_test_below_folders_that_they_share(files):
    """As IDRiD has them: the same names in both, which the folder above would not tell apart."""
    top = files / "Grading" / "Grading" / "1. Images"
    for part, count in (("a. Training Set", 10), ("b. Testing Set", 4)):
        _pictures(top / part, [f"p{k}.png" for k in range(count)], len(part))
    for part, count in (("Training", 10), ("Testing", 4)):
        rows = {"id": [f"p{k}" for k in range(count)], "kind": [KINDS[k % 2] for k in range(count)]}
        _table(files / "Grading" / "Grading" / "2. Truth" / f"{part} Labels.csv", rows)
    competition = _init(files)
    assert competition.files.train == ("Grading/Grading/1. Images/a. Training Set",)
    assert _index(files)["split"].value_counts().to_dict() == {"train": 10, "test": 4}


def test_a_sample_submission_in_a_folder_and_the_class_that_says_yes(files):
    _pictures(files, [f"train_images/p{k}.png" for k in range(10)])
    _pictures(files, ["test_images/t0.png", "test_images/t1.png"], 20)
    (files / "train_images" / "notes.xlsx").write_bytes(b"PK")
    _table(files / "train" / "train.csv", {"id": [f"p{k}" for k in range(10)], "panel": ["no", "yes"] * 5})
    _table(files / "test" / "sample_submission.csv", {"id": ["t0", "t1"], "panel": [0.25, 0.5]})
    competition = _init(files, "roc_auc")
    assert competition.submission.positive == "yes"
    table = _index(files)
    assert table["split"].value_counts().to_dict() == {"train": 10, "test": 2}


def test_a_numbered_level_that_the_sample_asks_for(files):
    """Drivers above c0, c1, c2."""
    _pictures(
        files, [f"train/{who}/c{kind}/{who}{k}.png" for who in ("ann", "bob") for kind in range(3) for k in range(4)]
    )
    with pytest.raises(ConfigError, match=r"Which folders are the classes\?"):
        _init(files)
    _pictures(files, ["test/t0.png", "test/t1.png"], 30)
    _table(files / "sample_submission.csv", {"img": ["t0.png", "t1.png"], "c0": 0.3, "c1": 0.3, "c2": 0.4})
    assert _init(files, "log_loss").classes == ("c0", "c1", "c2")


def test_folders_of_thousands_are_no_classes(files):
    _pictures(files, [f"images/{thousand}/{thousand}{k:03}.png" for thousand in (11, 12, 13) for k in range(8)])
    with pytest.raises(KitError, match="no labels found"):
        _init(files)


def test_a_split_in_a_json_is_no_label(files):
    _pictures(files, [f"images/{KINDS[k % 2]}.{k}.png" for k in range(12)])
    ids = [f"{KINDS[k % 2]}.{k}.png" for k in range(12)]
    (files / "splits.json").write_text(json.dumps({"train": ids[:8], "val": ids[8:10], "test": ids[10:]}))
    (files / "folds.json").write_text(json.dumps({"fold0": ids[::2], "fold1": ids[1::2]}))
    assert _init(files).classes == KINDS


def test_the_samples_column_says_whose_probability(files):
    _pictures(files, [f"train/p{k}.png" for k in range(10)])
    _pictures(files, ["test/t0.png", "test/t1.png"], 20)
    _table(files / "train.csv", {"id": [f"p{k}" for k in range(10)], "finding": ["negative", "positive"] * 5})
    _table(files / "sample_submission.csv", {"id": ["t0", "t1"], "negative": [0.25, 0.5]})
    assert _init(files, "roc_auc").submission.positive == "negative"


def test_annotations_that_count_from_one_in_each_part(files):
    for part, count in (("train", 10), ("val", 6)):
        _pictures(files, [f"{part}/{k:06}.png" for k in range(count)], 20 * len(part))
        images = [{"id": k + 1, "file_name": f"{k:06}.png"} for k in range(count)]
        marks = [{"image_id": k + 1, "category_id": (k + len(part)) % 2} for k in range(count)]
        held = {
            "images": images,
            "annotations": marks,
            "categories": [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}],
        }
        (files / "annotations").mkdir(exist_ok=True)
        (files / "annotations" / f"instances_{part}.json").write_text(json.dumps(held))
    competition = _init(files)
    assert competition.files.train_labels == ("annotations/instances_train.json",)
    assert _index(files)["target_label"].tolist() == [KINDS[(k + 5) % 2] for k in range(10)]


def test_grades_beside_their_words_and_a_score_with_a_gap(files):
    _pictures(files, [f"train/p{k}.png" for k in range(12)])
    ids, grades = [f"p{k}" for k in range(12)], [k % 3 for k in range(12)]
    words = [("none", "mild", "severe")[grade] for grade in grades]
    _table(files / "train.csv", {"id": ids, "severity": grades, "severity_name": words})
    competition = _init(files, "quadratic_weighted_kappa", "labels.column=severity")
    assert (competition.labels.column, competition.task) == ("severity", "ordinal")
    with pytest.raises(ConfigError, match=r"Which column is the target: severity, severity_name\?"):
        _init(files)
    scores = ["", *(f"{k / 7:.3f}" for k in range(1, 12))]
    _table(files / "train.csv", {"id": ids, "place": ["a", "b", "c"] * 4, "points": scores})
    with pytest.raises(ConfigError, match=r"Which column is the target: place, points\?"):
        _init(files)


def test_a_list_with_a_number_for_each_class_folder(files):
    """As ImageNet's train.txt: the folders say the same, by words."""
    _pictures(files, [f"images/{kind}/{kind[0]}{k}.png" for kind in KINDS for k in range(6)])
    lines = [f"{kind}/{kind[0]}{k}.png {number}" for number, kind in enumerate(KINDS) for k in range(6)]
    (files / "train.txt").write_text("\n".join(lines))
    competition = _init(files)
    assert (competition.labels.layout, competition.classes) == ("folders", KINDS)


def test_a_json_of_images_that_is_not_cocos_is_passed_by(files):
    _pictures(files, [f"train/{kind}/{k}.png" for kind in KINDS for k in range(5)])
    (files / "about.json").write_text(json.dumps({"images": ["a.png"], "annotations": [1, 2]}))
    assert _init(files).classes == KINDS


def test_the_class_behind_the_pixels(files):
    """As UCI's optdigits: no header, the last column is the class, the first pixel always 0."""
    files.mkdir()
    random = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        lines = [",".join(map(str, [0, *random.integers(0, 17, 63), row % 3])) for row in range(count)]
        (files / f"digits-{part}.csv").write_text("\n".join(lines) + "\n")
    assert _init(files).classes == ("0", "1", "2")
    assert _by_class(_index(files)) == {"0": 4, "1": 4, "2": 4}


def test_masks_beside_their_pictures_are_left_out(files):
    """As in BUSI: benign/benign (1).png, benign/benign (1)_mask.png and a second mask."""
    names = [f"scans/{kind}/{kind} ({k})" for kind in KINDS for k in range(5)]
    _pictures(files, [f"{name}{ending}.png" for name in names for ending in ("", "_mask")] + [f"{names[0]}_mask_1.png"])
    competition = _init(files)
    assert (competition.files.without, competition.classes) == (("*_mask*",), KINDS)
    table = _index(files)
    assert _by_class(table) == {"cat": 5, "dog": 5}
    assert not table["path"].str.contains("mask").any()


def test_pictures_of_masks_are_kept(files):
    _pictures(files, [f"faces/{kind}/{k}_{kind}.png" for kind in ("with_mask", "without_mask") for k in range(5)])
    competition = _init(files)
    assert competition.files.without == ()
    assert _by_class(_index(files)) == {"with_mask": 5, "without_mask": 5}


def test_a_table_of_the_folders_numbers_is_no_table_of_labels(files):
    """classes.csv counts from 1, as the sample does, and some files are called by such numbers as well."""
    kinds = ("bridge", "harbor", "meadow")
    _pictures(files, [f"train/{kind}/{k}.png" for kind in kinds for k in range(8)])
    _pictures(files, [f"test/{k}.png" for k in range(100, 106)], 30)
    _table(files / "classes.csv", {"class_id": [1, 2, 3], "class_name": kinds})
    _table(files / "sample_submission.csv", {"id": range(100, 106), "class_id": [1, 2, 3, 1, 2, 3]})
    competition = _init(files, "accuracy")
    assert (competition.labels.layout, competition.classes) == ("folders", kinds)
    assert competition.submission.values == {"bridge": 1, "harbor": 2, "meadow": 3}


def test_a_columns_name_in_the_sample_says_more_than_its_values(files):
    """Beside the labels a table of times: the first is 0, as the sample's cells are."""
    ids = [f"a{k}" for k in range(12)]
    _pictures(files, [f"train/{one}.png" for one in ids])
    _pictures(files, [f"test/b{k}.png" for k in range(4)], 20)
    _table(files / "train_features.csv", {"image_id": ids, "minutes": range(12)})
    _table(files / "train_labels.csv", {"image_id": ids, "speed": range(30, 42)})
    _table(files / "submit_example.csv", {"image_id": [f"b{k}" for k in range(4)], "speed": [0] * 4})
    competition = _init(files, "rmse")
    assert competition.files.train_labels[0] == "train_labels.csv"
    assert (competition.task, competition.labels.column) == ("number", "speed")


def test_folders_where_they_are_asked_for(files):
    """A table says the same, and none of it is looked at; where no folder tells a class it is one line."""
    names = [f"train/{kind}/{k}.png" for kind in KINDS for k in range(6)]
    _pictures(files, names)
    _table(files / "train.csv", {"path": names, "kind": [name.split("/")[1] for name in names]})
    competition = _init(files, None, "labels.layout=folders")
    assert (competition.labels.layout, competition.classes) == ("folders", KINDS)
    flat = files.parent / "flat"
    _pictures(flat, [f"train/{k}.png" for k in range(6)])
    with pytest.raises(KitError, match=r"labels.layout=folders: no folders of train tell classes"):
        _init(flat, None, "labels.layout=folders")


def test_illustrations_beside_tables_of_pixels(files):
    """As in Sign Language MNIST: two tables, and a picture for the reader."""
    _pictures(files, ["alphabet.png"])
    random = np.random.default_rng(0)
    for part, count in (("train", 12), ("test", 4)):
        rows = random.integers(0, 256, (count, 64))
        table = pd.DataFrame(rows, columns=[f"pixel{k}" for k in range(64)])
        table.insert(0, "label", np.arange(count) % 3)
        table.to_csv(files / f"sign_mnist_{part}.csv", index=False)
    assert _init(files, "accuracy").classes == ("0", "1", "2")
    assert _by_class(_index(files)) == {"0": 4, "1": 4, "2": 4}


def test_a_copy_of_the_other_folders_is_left_out(files):
    """As in the brain tumours' yes and no beside brain_tumor_dataset/yes and brain_tumor_dataset/no."""
    names = [f"{kind}/{k}.png" for kind in KINDS for k in range(5)]
    _pictures(files, names)
    _pictures(files / "all", names)
    assert _init(files).classes == KINDS
    assert _by_class(_index(files)) == {"cat": 5, "dog": 5}
    _pictures(files / "all", names, 20)
    assert _init(files, None, "labels.level=-1").files.without == (), "other pictures under the same names"


def test_a_copy_whose_name_is_a_folders_in_the_others_as_well(files):
    """Leaving out `all` would leave out photos/all, too."""
    names = [f"photos/all/{kind}/{k}.png" for kind in KINDS for k in range(5)]
    _pictures(files, names)
    _pictures(files / "all", names)
    assert _init(files, None, "labels.level=-1").classes == KINDS


def test_a_folder_beside_the_pictures_that_the_user_leaves_out(files):
    for first, place in enumerate(("photos", "infrared")):
        _pictures(files, [f"{place}/{kind}/{k}.png" for kind in KINDS for k in range(5)], 20 * first)
    assert _init(files, None, "files.without=infrared").files.train == ("photos",)
    assert _by_class(_index(files)) == {"cat": 5, "dog": 5}
