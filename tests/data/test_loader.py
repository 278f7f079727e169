"""Batches: each image once an epoch, the same bits from any number of workers and from any step on."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.process import BaseProcess
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from kit.batch import Batch
from kit.data.cache import CacheFolders, NoRoom, cached, pixel_cache
from kit.data.loader import GRACE, Batches, epoch_order, workers_needed
from kit.data.pixels import OnDemand, Stacked
from kit.data.transforms import build_augment
from kit.errors import KitError

PIXELS = np.random.default_rng(0).integers(0, 255, (50, 20, 20, 3), np.uint8)
TARGETS = np.arange(50) % 3


def _batches(epoch: int = 0) -> Batches:
    augment = build_augment([{"RandomResizedCrop": {}}, {"HorizontalFlip": {}}], 16)
    order = epoch_order(np.arange(50), 8, 0, 0, epoch)
    return Batches(PIXELS, TARGETS, order, 8, 16, augment, (0, 0, epoch))


def test_an_epoch_holds_each_image_at_most_once_and_only_whole_batches():
    orders = [epoch_order(np.arange(50), 8, 0, 0, epoch) for epoch in range(20)]
    assert all(len(order) == 48 == len(set(order)) for order in orders)
    assert set(np.concatenate(orders)) == set(range(50))
    assert not np.array_equal(orders[0], orders[1])
    assert len(epoch_order(np.arange(5), 8, 0, 0, 0)) == 5


@pytest.mark.parametrize("num_workers", [1, 2])
def test_worker_count_changes_no_bit(num_workers):
    alone, helped = list(_batches().stream()), list(_batches().stream(num_workers=num_workers))
    assert len(alone) == len(helped) == 6
    for one, other in zip(alone, helped, strict=True):
        assert all(torch.equal(vars(one)[name], vars(other)[name]) for name in ("pixels", "targets", "rows"))
        assert one.whole is other.whole is None


def _begun(batches: Batches, num_workers: int) -> tuple[Iterator[Batch], BaseProcess]:
    """(what comes after the first batch, one of its workers)"""
    others = set(multiprocessing.active_children())  # an earlier test's may still be ending
    stream = batches.stream(num_workers=num_workers)
    next(stream)
    return stream, (set(multiprocessing.active_children()) - others).pop()


def test_a_worker_that_is_killed_during_a_step_is_one_line():
    """While the main process computes: torch's own error would come out of the middle of a training step."""
    _stream, worker = _begun(_batches(), num_workers=2)

    def step() -> None:
        os.kill(worker.pid, signal.SIGKILL)
        time.sleep(30)

    with pytest.raises(KitError, match=r"a process that prepares batches was ended, .*machine\.num_workers=0") as error:
        step()
    assert "\n" not in str(error.value)


def test_a_worker_that_is_told_to_end_is_missed_at_its_next_batch():
    stream, worker = _begun(Batches(PIXELS, TARGETS, np.arange(50), 1, 16, None, (0, 0, 0)), num_workers=1)
    os.kill(worker.pid, signal.SIGTERM)
    worker.join(GRACE + 60)
    with pytest.raises(KitError, match=r"a process that prepares batches was ended, .*machine\.num_workers=0"):
        list(stream)


STOPPED = """
import signal, sys, time
import numpy as np
from kit.data.loader import Batches
signal.signal(signal.SIGTERM, lambda *_: sys.exit(130))
pixels, targets = np.zeros((50, 20, 20, 3), np.uint8), np.zeros(50, np.int64)
batches = Batches(pixels, targets, np.arange(48), 8, 16, None, (0, 0, 0)).stream(num_workers=2)
next(batches)
print("begun", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no process groups")
def test_a_sigterm_to_the_whole_group_is_reported_by_the_main_process_alone():
    """As clusters and `timeout` send it; the workers that it ends, too, are not "lost"."""
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    program = subprocess.Popen([sys.executable, "-Wignore", "-c", STOPPED], start_new_session=True, text=True, **piped)
    assert program.stdout.readline() == "begun\n"
    os.killpg(program.pid, signal.SIGTERM)
    assert program.communicate(timeout=60)[1] == ""
    assert program.returncode == 130


def test_going_on_from_a_step_gives_the_same_batches():
    whole, rest = list(_batches(3).stream()), list(_batches(3).stream(start=4))
    assert len(rest) == 2
    assert torch.equal(whole[4].pixels, rest[0].pixels)
    assert torch.equal(whole[5].rows, rest[1].rows)


def test_epochs_augment_differently():
    images = [_batches(epoch)[0].pixels for epoch in (0, 1)]
    assert images[0].shape == (8, 3, 16, 16)
    assert images[0].dtype == torch.uint8
    assert not torch.equal(images[0], images[1])


def test_targets_belong_to_their_images():
    plain = Batches(PIXELS, TARGETS, np.array([7, 3, 49]), 2, 20)
    batch = plain[1]
    assert batch.rows.tolist() == [49]
    assert batch.targets.tolist() == [TARGETS[49]]
    assert np.array_equal(batch.pixels[0].permute(1, 2, 0).numpy(), PIXELS[49])


def test_the_cache_is_built_once_and_keyed_by_what_made_it(tmp_path):
    paths = []
    for number in range(3):
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), PIXELS[number][..., ::-1])
    pixels = pixel_cache(CacheFolders((tmp_path / "cache",)), paths, ["a", "", "c"], 20, "squash")
    assert np.array_equal(pixels[2], PIXELS[2])
    assert (pixels[1] == 0).all()  # no md5: no readable picture
    paths[0].unlink()
    assert np.array_equal(pixel_cache(CacheFolders((tmp_path / "cache",)), paths, ["a", "", "c"], 20, "squash"), pixels)
    with pytest.raises(KitError, match=r"0\.png: .*type `kit index --force`"):
        pixel_cache(CacheFolders((tmp_path / "cache",)), paths, ["other", "", "c"], 20, "squash")
    assert len([f for f in (tmp_path / "cache").iterdir() if f.name != ".lock"]) == 1, (
        "a failed build leaves nothing behind"
    )


def test_pictures_that_fit_on_no_disk_are_decoded_to_the_same_pixels(tmp_path, capsys):
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path, picture in zip(paths, PIXELS, strict=False):
        cv2.imwrite(str(path), picture[..., ::-1])
    md5 = ["a", "", "c"]
    kept = pixel_cache(CacheFolders((tmp_path / "cache",)), paths, md5, 20, "squash")
    folders = (tmp_path / "elsewhere", tmp_path / "small")
    pictures = pixel_cache(CacheFolders(folders, most_bytes=100), paths, md5, 20, "squash")
    assert isinstance(pictures, OnDemand)
    text = " ".join(capsys.readouterr().out.split())
    assert "a cache of 0.00 GB fits nowhere" in text
    assert "machine.cache_dir names another disk" in text
    rows = np.array([2, 0, 1, 2])
    both = Stacked(pictures, kept)
    for source in (pictures, both):
        assert np.array_equal(source[rows], kept[rows])
        assert np.array_equal(source[1], kept[1])
    assert np.array_equal(both[rows + 3], kept[rows])
    assert not [*tmp_path.glob("elsewhere/*.npy"), *tmp_path.glob("small/*.npy")]
    with pytest.raises(NoRoom, match="fits nowhere"):
        _array(CacheFolders((tmp_path,), most_bytes=900), "a", 1000)


def test_an_array_is_kept_in_the_first_folder_with_room_and_found_in_any(tmp_path, monkeypatch):
    free = {"small": 10, "large": 10_000}
    monkeypatch.setattr("kit.data.cache.shutil.disk_usage", lambda path: SimpleNamespace(free=free[path.name]))
    folders = CacheFolders((tmp_path / "small", tmp_path / "large"))
    _array(folders, "a", 100)
    free["small"] = 10_000
    _array(folders, "a", 100)
    assert [path.parent.name for path in tmp_path.rglob("a.npy")] == ["large"]


@pytest.mark.parametrize(
    ("network", "one_core", "cores", "on_gpu", "workers"),
    [
        (200, 5000, 2, False, 0),  # a CPU has no core to spare
        (9000, 3000, 2, False, 2),  # unless preparing is the longer part
        (9000, 3000, 1, False, 0),
        (700, 3000, 4, True, 0),  # prepared while the GPU works
        (4000, 3000, 8, True, 2),
        (20_000, 3000, 4, True, 4),  # as many as there are
    ],
)
def test_workers_come_where_they_help(network, one_core, cores, on_gpu, workers):
    assert workers_needed(network, one_core, cores, on_gpu) == workers


def _array(folders, name, rows):
    def build(path):
        with path.open("wb") as file:
            np.save(file, np.ones(rows, np.uint8))

    return cached(folders, name, (rows,), np.dtype(np.uint8), build)


def test_the_cache_keeps_to_its_size_and_drops_what_was_used_longest_ago(tmp_path):
    for name in ("a", "b", "c", "a", "d"):  # a is used again
        _array(CacheFolders((tmp_path,), most_bytes=3500), name, 1000)
    assert {path.stem for path in tmp_path.glob("*.npy")} == {"a", "c", "d"}


def test_older_arrays_make_room_and_what_cannot_be_written_is_passed_over(tmp_path, monkeypatch):
    small, other = tmp_path / "small", tmp_path / "other"

    def usage(folder):
        held = sum(file.stat().st_size for file in folder.glob("*.npy"))
        return SimpleNamespace(free=3000 - held if folder == small else 10_000)

    monkeypatch.setattr("kit.data.cache.shutil.disk_usage", usage)
    for name in ("a", "b", "c"):
        _array(CacheFolders((small, other)), name, 1500)
    assert [path.stem for path in small.glob("*.npy")] == ["c"]
    assert not other.exists(), "what can be made anew gives way"
    _array(CacheFolders((small, other)), "d", 5000)
    assert (other / "d.npy").is_file()
    assert (small / "c.npy").is_file(), "where it cannot help nothing is removed"
    monkeypatch.setattr("kit.data.cache._is_writable", lambda folder: folder == other)
    assert _array(CacheFolders((small, other)), "c", 1500).sum() == 1500, "it can still be read"
    _array(CacheFolders((small, other)), "e", 1500)
    assert (other / "e.npy").is_file()
    with pytest.raises(NoRoom, match=r"small: read-only.*machine\.cache_dir names another disk"):
        _array(CacheFolders((small,)), "f", 10)


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fail(path):
        path.write_bytes(b"half")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        cached(CacheFolders((tmp_path,)), "a", (10,), np.dtype(np.uint8), fail)
    assert not list(tmp_path.glob("*a*"))
    assert _array(CacheFolders((tmp_path,)), "a", 10).sum() == 10
