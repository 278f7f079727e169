"""download: zips, folders, bundles; Kaggle itself; and what stays when it fails."""

import io
import zipfile
from pathlib import Path

import pytest

from kit.errors import ConfigError, KitError
from kit.run.run import Run
from kit.stages import download, index
from kit.stages.download import _find


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_zips_are_unpacked_under_their_own_names(tiny, workspace, digits):
    result = download.download(Run.open(tiny(), workspace), digits)
    assert result.changed
    assert _names(result.raw) == {"train", "test1", "sampleSubmission.csv"}
    assert len(list((result.raw / "train").iterdir())) == 200
    assert not download.download(Run.open(tiny(), workspace), digits).changed


def test_folders_are_used_where_they_are(tiny, workspace, digits, tmp_path):
    for name in ("train", "test1"):
        with zipfile.ZipFile(digits / f"{name}.zip") as archive:
            archive.extractall(tmp_path / "input")
    (tmp_path / "input" / "sampleSubmission.csv").write_bytes((digits / "sampleSubmission.csv").read_bytes())
    result = download.download(Run.open(tiny(), workspace), tmp_path / "input")
    assert (result.raw / "train").resolve() == (tmp_path / "input" / "train").resolve()
    assert index.index(Run.open(tiny(), workspace)).num_train == 200
    assert not download.download(Run.open(tiny(), workspace), tmp_path / "input").changed


def test_a_damaged_archive_leaves_nothing_unpacked(tiny, workspace, digits, tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for file in ("train.zip", "test1.zip", "sampleSubmission.csv"):
        (source / file).write_bytes((digits / file).read_bytes())
    data = bytearray((source / "test1.zip").read_bytes())
    data[500] ^= 1
    (source / "test1.zip").write_bytes(data)
    with pytest.raises(KitError, match=r"test1\.zip: 'test1/1\.jpg' is damaged"):
        download.download(Run.open(tiny(), workspace), source)
    assert not workspace.raw("digits").exists()


def test_other_files_need_force(tiny, workspace, digits, tmp_path):
    download.download(Run.open(tiny(), workspace), digits)
    other = tmp_path / "other"
    other.mkdir()
    for file in ("test1.zip", "sampleSubmission.csv"):
        (other / file).write_bytes((digits / file).read_bytes())
    with zipfile.ZipFile(other / "train.zip", "w") as archive:
        archive.writestr("train/1.1.jpg", b"x")
    with pytest.raises(KitError, match=r"already holds files other than.*--force"):
        download.download(Run.open(tiny(), workspace), other)
    assert len(list((workspace.raw("digits") / "train").iterdir())) == 200
    download.download(Run.open(tiny(), workspace), other, force=True)
    assert len(list((workspace.raw("digits") / "train").iterdir())) == 1


@pytest.mark.parametrize("missing", ["train.zip", "test1.zip", "sampleSubmission.csv"])
def test_a_missing_file_is_named(tiny, workspace, digits, tmp_path, missing):
    for file in {"train.zip", "test1.zip", "sampleSubmission.csv"} - {missing}:
        (tmp_path / file).write_bytes((digits / file).read_bytes())
    with pytest.raises(KitError, match=f"contains no {missing}"):
        download.download(Run.open(tiny(), workspace), tmp_path)
    with pytest.raises(ConfigError, match="no such file or folder"):
        download.download(Run.open(tiny(), workspace), tmp_path / "nowhere")


def test_a_part_alone_is_no_bundle(tiny, workspace, digits, tmp_path):
    (tmp_path / "train.zip").write_bytes((digits / "train.zip").read_bytes())
    with pytest.raises(KitError, match=r"contains no test1\.zip .*\(found: train\.zip"):
        download.download(Run.open(tiny(), workspace), tmp_path)


def test_without_kaggle_it_says_so(tiny, workspace):
    with pytest.raises(ConfigError, match="is not on Kaggle: give its files with --from DIR"):
        download.download(Run.open(tiny(), workspace))


def _bundle(digits: Path) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for file in ("train.zip", "test1.zip", "sampleSubmission.csv"):
            archive.writestr(file, (digits / file).read_bytes())
    return buffer.getvalue()


def test_a_bundle_has_its_inner_zips_unpacked_as_well(tiny, workspace, digits, tmp_path):
    (tmp_path / "bundle.zip").write_bytes(_bundle(digits))
    result = download.download(Run.open(tiny(), workspace), tmp_path / "bundle.zip")
    assert _names(result.raw) == {"train", "test1", "sampleSubmission.csv"}
    assert not list(workspace.data("digits").glob(".bundle*"))


def test_every_spelling_is_found(tmp_path):
    from kit.competition import Competition

    for name in ("train.zip", "test.zip", "sample_submission.csv.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("x.csv", "id,label\n")
    found = _find(Competition.load("dogs-vs-cats"), tmp_path, tmp_path / "staging")
    assert {role: [path.name for path in paths] for role, paths in found.items()} == {
        "train": ["train.zip"], "test": ["test.zip"], "sample_submission": ["sample_submission.csv.zip"],
    }  # fmt: skip


def test_what_the_user_put_there_is_not_replaced_without_force(tiny, workspace, digits):
    raw = workspace.raw("digits")
    (raw / "test1").mkdir(parents=True)
    (raw / "test1" / "mine.jpg").write_bytes(b"mine")
    with pytest.raises(KitError, match=r"already holds files other than .*\(test1\); --force"):
        download.download(Run.open(tiny(), workspace), digits)
    assert (raw / "test1" / "mine.jpg").exists()


def test_another_spelling_does_not_stay_beside_the_new_files(workspace, tmp_path, digits):
    from kit.config import Experiment

    experiment = Experiment.load("configs/dogs-vs-cats-quick.yaml")
    for folder, test, sample in (("old", "test1", "sampleSubmission.csv"), ("new", "test", "sample_submission.csv")):
        (tmp_path / folder).mkdir()
        for name in ("train", test):
            with zipfile.ZipFile(tmp_path / folder / f"{name}.zip", "w") as archive:
                archive.writestr(f"{name}/cat.{folder}.jpg", b"x")
        (tmp_path / folder / sample).write_text("id,label\n1,0\n")
    download.download(Run.open(experiment, workspace), tmp_path / "old")
    result = download.download(Run.open(experiment, workspace), tmp_path / "new", force=True)
    assert _names(result.raw) == {"train", "test", "sample_submission.csv"}


def test_a_replacement_that_was_killed_is_not_complete(tiny, workspace, digits, monkeypatch):
    download.download(Run.open(tiny(), workspace), digits)

    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "place_table", killed)
        with pytest.raises(KeyboardInterrupt):
            download.download(Run.open(tiny(), workspace), digits, force=True)
    with pytest.raises(ConfigError, match="not on Kaggle"):
        download.download(Run.open(tiny(), workspace))
    assert download.download(Run.open(tiny(), workspace), digits).changed


def test_a_full_disk_is_said_before_unpacking(tiny, workspace, digits, monkeypatch):
    monkeypatch.setattr("kit.workspace.shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000}))
    with pytest.raises(KitError, match=r"unpacking needs 0\.00 GB, 0\.00 GB are free; make room first"):
        download.download(Run.open(tiny(), workspace), digits)
    assert not (workspace.raw("digits") / "train").exists()
