"""index and explore: every file in its row, trouble listed and survived, statistics right."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from by_name import fold_folder
from PIL import Image

from kit.config import Experiment
from kit.data import facts
from kit.data.places import walk
from kit.data.table import SEEN, channel_statistics, read_index, readable, trainable
from kit.errors import KitError
from kit.run.run import Run
from kit.stages import download, explore, index, predict, split, train


@pytest.fixture
def troubled(tiny, workspace, digits):
    """Digits with trouble among them, in train and in test."""
    experiment = tiny()
    raw = download.download(Run.open(experiment, workspace), digits).raw
    (raw / "train" / "3.9001.jpg").write_bytes(b"not an image")
    (raw / "train" / "4.9002.jpg").write_bytes(b"")
    Image.new("RGB", (30, 30), "red").save(raw / "train" / "5.9003.jpg", "PNG")
    (raw / "train" / "readme").write_text("hello")
    (raw / "train" / ".DS_Store").write_text("mac")
    data = (raw / "test1" / "7.jpg").read_bytes()
    (raw / "test1" / "7.jpg").write_bytes(data[: len(data) // 3])
    shutil.copy(raw / "test1" / "1.jpg", raw / "train" / "0.9004.jpg")
    index.index(Run.open(experiment, workspace))
    return experiment, workspace


def test_trouble_is_listed_and_kept_out_of_training(troubled):
    _experiment, workspace = troubled
    table = read_index(workspace.index("digits")).set_index("image_id")
    assert list(table.reset_index()) == ["image_id", "split", "target_label", "path", "given_group", *SEEN]
    assert table.loc["3.9001", "problem"] == "not an image"
    assert table.loc["4.9002", "problem"] == "an empty file"
    assert table.loc["5.9003", "problem"] == "a PNG named .jpg"
    assert "no class in the name" in table.loc["readme", "problem"]
    assert "damaged" in table.loc["7", "problem"]
    assert ".DS_Store" not in set(table.index)
    used = table[trainable(table)]
    assert "5.9003" in used.index
    assert not {"3.9001", "4.9002", "readme"} & set(used.index)
    assert table.loc["1", "group"] == table.loc["0.9004", "group"], "a twin across train and test"


def test_a_damaged_test_image_still_gets_the_prior(troubled):
    experiment, workspace = troubled
    split.split(Run.open(experiment, workspace))
    train.train(Run.open(experiment, workspace), [0])
    predict.predict(Run.open(experiment, workspace), [0])
    table = read_index(workspace.index("digits"))
    counts = table[trainable(table)]["target_label"].value_counts()
    test = pd.read_csv(fold_folder(workspace, "tiny", 0) / "test.csv", dtype={"image_id": str}).set_index("image_id")
    assert len(test) == 50
    expected = [counts[str(k)] / counts.sum() for k in range(10)]
    assert test.loc["7"].to_numpy(float) == pytest.approx(expected, abs=1e-6)
    assert test.loc["8"].to_numpy(float) != pytest.approx(expected, abs=1e-3)


def test_other_images_make_other_folds_and_that_is_said(troubled, capsys):
    experiment, workspace = troubled
    split.split(Run.open(experiment, workspace))
    split.split(Run.open(experiment, workspace))
    assert "so did the folds" not in capsys.readouterr().out
    (workspace.raw("digits") / "train" / "0.9004.jpg").unlink()
    index.index(Run.open(experiment, workspace))
    split.split(Run.open(experiment, workspace))
    said = " ".join(capsys.readouterr().out.split())
    assert "and so did the folds; a run made with the old ones cannot go on" in said


def test_processes_and_threads_see_the_same(troubled, monkeypatch):
    _experiment, workspace = troubled
    paths = sorted(map(str, (workspace.raw("digits") / "train").iterdir()))
    monkeypatch.setattr(facts, "num_cores", lambda: 2)
    by_threads = facts.look_at(paths, "look")
    monkeypatch.setattr(facts, "MANY", 1)
    by_processes = facts.look_at(paths, "look")
    pd.testing.assert_frame_equal(by_threads[0], by_processes[0])
    assert np.array_equal(by_threads[1], by_processes[1])


@pytest.mark.skipif(facts.START_METHOD != "fork", reason="the index is made by threads where no process can be forked")
def test_a_process_that_is_killed_is_one_line(troubled, monkeypatch):
    _experiment, workspace = troubled
    monkeypatch.setattr(facts, "num_cores", lambda: 2)
    monkeypatch.setattr(facts, "MANY", 1)
    monkeypatch.setattr(facts, "likeness", lambda rgb: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(KitError, match=r"was killed from outside \(out of memory\?\); try again"):
        facts.look_at([str(file) for file in (workspace.raw("digits") / "train").iterdir()], "look")


@pytest.mark.skipif(facts.START_METHOD != "fork", reason="the index is made by threads where no process can be forked")
def test_workers_end_with_a_main_process_that_is_killed():
    """Else they would hold its locks for ever: nobody could index again."""
    script = (
        "import time\nfrom kit.data import facts\nfacts.num_cores = lambda: 2\n"
        "with facts._workers(facts.MANY) as pool:\n"
        "    list(pool.map(time.sleep, [0.1] * 4))\n    print(*pool._processes, flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as main:
        workers = [int(number) for number in main.stdout.readline().split()]
        main.kill()
    assert len(workers) == 2
    for _ in range(100):
        left = [number for number in workers if _runs(number)]
        if not left:
            break
        time.sleep(0.1)
    assert not left


def _runs(pid: int) -> bool:
    """A process that nobody has waited for yet is a zombie, and runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_hidden_folders_are_passed_over_and_linked_ones_entered(tmp_path):
    real = tmp_path / "elsewhere"
    for place in (tmp_path / "train" / "cat", tmp_path / "train" / ".ipynb_checkpoints", real):
        place.mkdir(parents=True)
        (place / "1.jpg").write_bytes(b"")
    (tmp_path / "train" / "dog").symlink_to(real)
    (tmp_path / "train" / "cat" / "again").symlink_to(tmp_path / "train")
    found = sorted(walk(tmp_path / "train"))
    assert found == ["cat/1.jpg", "dog/1.jpg"]


def test_explore_reports_trouble_and_twins(troubled, capsys):
    experiment, workspace = troubled
    stats = explore.explore(Run.open(experiment, workspace)).summary
    assert len(stats["problems"]) == 5
    assert ["train/0.9004.jpg", "test1/1.jpg"] in stats["near_identical"]["across_train_and_test"]
    assert (workspace.figures("digits") / "near_identical.png").exists()
    assert (workspace.figures("digits") / "problems.png").exists()
    assert "span train and test" in capsys.readouterr().out


def test_channel_statistics_equal_those_of_all_pixels(tiny, workspace, digits):
    experiment = tiny()
    raw = download.download(Run.open(experiment, workspace), digits).raw
    index.index(Run.open(experiment, workspace))
    files = sorted((raw / "train").iterdir())
    pixels = np.stack([np.asarray(Image.open(file).convert("RGB")) for file in files]) / 255
    table = read_index(workspace.index("digits"))
    mean, std = channel_statistics(table[trainable(table)])
    assert mean == pytest.approx(pixels.mean(axis=(0, 1, 2)), abs=2e-3)
    assert std == pytest.approx(pixels.std(axis=(0, 1, 2)), abs=2e-3)
    stats = explore.explore(Run.open(experiment, workspace)).summary
    assert stats["channels"]["mean"] == pytest.approx(mean)
    assert stats["classes"] == {str(k): int((table["target_label"] == str(k)).sum()) for k in range(10)}


def test_a_shifted_test_set_is_noticed(tiny, workspace, digits):
    experiment = tiny()
    raw = download.download(Run.open(experiment, workspace), digits).raw
    for file in (raw / "test1").iterdir():
        bright = np.asarray(Image.open(file)).astype(int) + 60
        Image.fromarray(np.clip(bright, 0, 255).astype(np.uint8)).save(file, quality=95)
    index.index(Run.open(experiment, workspace))
    assert explore.explore(Run.open(experiment, workspace)).summary["adversarial"]["auc"] > 0.95


def test_two_files_with_one_id_are_refused(tiny, workspace, digits):
    raw = download.download(Run.open(tiny(), workspace), digits).raw
    shutil.copy(raw / "test1" / "1.jpg", raw / "test1" / "1.png")
    with pytest.raises(KitError, match=r"files share an id: 1\.jpg, 1\.png"):
        index.index(Run.open(tiny(), workspace))


def test_a_folder_without_a_single_known_class_is_a_wrong_description(tiny, workspace, digits):
    raw = download.download(Run.open(tiny(), workspace), digits).raw
    for file in (raw / "train").iterdir():
        file.rename(file.with_name("x" + file.name))
    with pytest.raises(KitError, match=r"no file is named by its class, as class\.id\.ext, .*0, 1.*correct `labels`"):
        index.index(Run.open(tiny(), workspace))


def test_the_real_troublemakers(photos, workspace):
    """The photos at original sizes with everything of bad-images copied into train/."""
    experiment = Experiment.load("configs/dogs-vs-cats-quick.yaml")
    raw = download.download(Run.open(experiment, workspace), photos / "dogs-vs-cats-photos").raw
    copies = {}
    for number, file in enumerate(sorted((photos / "bad-images").iterdir())):
        copies[f"cat.{90001 + number}"] = file.name
        shutil.copy(file, raw / "train" / f"cat.{90001 + number}{file.suffix}")
    result = index.index(Run.open(experiment, workspace))
    table = read_index(workspace.index("dogs-vs-cats")).set_index("image_id")
    problems = {copies[name]: row.problem for name, row in table[table["problem"] != ""].iterrows()}
    assert problems == {
        "Abyssinian_100.mat": "not an image",
        "not-jpeg_gif-P_Abyssinian_34.jpg": "a GIF named .jpg",
        "not-jpeg_png-RGBA_Abyssinian_5.jpg": "a PNG named .jpg",
    }
    assert result.num_unreadable == 1
    assert readable(table).sum() == len(table) - 1
    stats = json.loads(explore.explore(Run.open(experiment, workspace)).stats.read_text())
    assert stats["channels"]["mean"] == pytest.approx([0.488, 0.455, 0.417], abs=0.02)
    twin = {name: copy for copy, name in copies.items() if name in {"cat.8456.jpg", "dog.8736.jpg"}}
    groups = table.loc[list(twin.values()), "group"]
    assert len(groups) == 2, "one picture, published under both labels"
    assert groups.nunique() == 1
