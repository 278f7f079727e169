"""kit init and kit index: patients, sides, frames and copies that only the files' names tell share a fold."""

from pathlib import Path

import drawn
import pandas as pd
import pytest

from kit.competition import Competition
from kit.config import Experiment
from kit.errors import ConfigError
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


def _init(folder: Path, *overrides: str) -> Competition:
    made = init.init(Workspace(folder.parent), folder, name="c", metric="accuracy", force=True, overrides=overrides)
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
        [f"storm{chr(97 + n)}_{k:03}.png" for n in range(12) for k in (0, 1)], ["other_000.png"], True, "storma",
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
