"""A zip is verified whole before a byte of it is unpacked, and a hostile one leaves nothing behind."""

import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from kit.data.archives import unpack_archive, verify_archive
from kit.errors import KitError


def _zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


def test_unpacks_what_it_verified(tmp_path):
    path = _zip(tmp_path / "train.zip", {"train/a.jpg": b"a" * 10, "train/b.jpg": b"b"})
    assert verify_archive(path) == 11
    unpack_archive(path, tmp_path / "raw" / "train")
    assert sorted(f.name for f in (tmp_path / "raw" / "train").iterdir()) == ["a.jpg", "b.jpg"]
    assert (tmp_path / "raw" / "train" / "a.jpg").read_bytes() == b"a" * 10


def test_another_top_folder_is_kept(tmp_path):
    path = _zip(tmp_path / "data.zip", {"x/a.jpg": b"a", "y/a.jpg": b"b"})
    unpack_archive(path, tmp_path / "data")
    assert (tmp_path / "data" / "y" / "a.jpg").read_bytes() == b"b"


@pytest.mark.parametrize("name", ["/etc/passwd", "../up.jpg", "a/../../up.jpg", "..\\up.jpg", "C:/x.jpg"])
def test_no_member_leaves_its_folder(tmp_path, name):
    path = _zip(tmp_path / "evil.zip", {"fine.jpg": b"1", name: b"2"})
    with pytest.raises(KitError, match="hostile"):
        verify_archive(path)
    with pytest.raises(KitError, match="hostile"):
        unpack_archive(path, tmp_path / "out" / "evil")
    assert not (tmp_path / "out" / "evil").exists()
    assert list((tmp_path / "out").glob("*")) == []


def test_links_are_refused(tmp_path):
    path = tmp_path / "link.zip"
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(KitError, match="a link or a device"):
        verify_archive(path)


def test_a_bomb_is_refused_before_it_is_read(tmp_path):
    path = _zip(tmp_path / "bomb.zip", {"zeros": b"\0" * 150_000_000}, zipfile.ZIP_DEFLATED)
    with pytest.raises(KitError, match="zip bomb"):
        verify_archive(path)


def test_a_flipped_bit_is_found(tmp_path):
    path = _zip(tmp_path / "train.zip", {"train/a.jpg": b"a" * 1000})
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    with pytest.raises(KitError, match=r"train/a\.jpg' is damaged .*get train\.zip again"):
        verify_archive(path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<!DOCTYPE html><html>sign in</html>", "is a web page, not a zip"),
        (b"PK\x03\x04 cut", "a broken zip"),
        (b"", "a broken zip"),
    ],
)
def test_what_is_no_zip_is_said(tmp_path, data, message):
    path = tmp_path / "train.zip"
    path.write_bytes(data)
    with pytest.raises(KitError, match=message):
        verify_archive(path)


def test_names_that_collide_are_refused(tmp_path):
    path = _zip(tmp_path / "twice.zip", {"a.jpg": b"1", "./a.jpg": b"2"})
    with pytest.raises(KitError, match="contains a file twice"):
        verify_archive(path)


def test_names_may_differ_in_case_alone(tmp_path):
    path = _zip(tmp_path / "letters.zip", {"A/1.jpg": b"1", "a/1.jpg": b"2", "a/1.JPG": b"3"})
    verify_archive(path)
    unpack_archive(path, tmp_path / "letters")
    assert (tmp_path / "letters" / "a" / "1.JPG").read_bytes() == b"3"
    assert (tmp_path / "letters" / "A" / "1.jpg").read_bytes() == b"1"


def test_a_failure_while_unpacking_keeps_the_old_folder(tmp_path):
    folder = tmp_path / "train"
    unpack_archive(_zip(tmp_path / "good.zip", {"a.jpg": b"old"}), folder)
    bad = _zip(tmp_path / "bad.zip", {"a.jpg": b"n" * 1000})
    data = bytearray(bad.read_bytes())
    data[200] ^= 1
    bad.write_bytes(data)
    with pytest.raises(zipfile.BadZipFile):
        unpack_archive(bad, folder)
    assert (folder / "a.jpg").read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad.zip", "good.zip", "train"]


@pytest.mark.parametrize(
    ("names", "placed"),
    [
        (["train\\cat.1.jpg", "train\\dog.2.jpg"], ["cat.1.jpg", "dog.2.jpg"]),
        (["12:30 cat.1.jpg", "dog.2.jpg"], ["12:30 cat.1.jpg", "dog.2.jpg"]),
        (["./", "./cat.1.jpg", "dog.2.jpg"], ["cat.1.jpg", "dog.2.jpg"]),
    ],
)
def test_names_of_other_systems_are_used_safely(tmp_path, names, placed):
    path = _zip(tmp_path / "train.zip", dict.fromkeys(names, b"1"))
    verify_archive(path)
    unpack_archive(path, tmp_path / "raw" / "train")
    assert sorted(file.name for file in (tmp_path / "raw" / "train").iterdir()) == placed


def test_names_in_an_old_code_page_and_unmarked_utf8(tmp_path):
    path = _zip(tmp_path / "old.zip", {"aaaaa.jpg": b"1", "bbbb.jpg": b"2"})
    data = path.read_bytes().replace(b"aaaaa.jpg", "caf\u00e9.jpg".encode()).replace(b"bbbb.jpg", b"\x81ber.jpg")
    path.write_bytes(data)
    unpack_archive(path, tmp_path / "old")
    assert sorted(file.name for file in (tmp_path / "old").iterdir()) == ["caf\u00e9.jpg", "\u00fcber.jpg"]


def test_tar_and_seven_zip(tmp_path):
    source = tmp_path / "train"
    source.mkdir()
    (source / "a.jpg").write_bytes(b"a" * 10)
    with tarfile.open(tmp_path / "train.tar.gz", "w:gz") as tar:
        tar.add(source, "train")
    archives = [tmp_path / "train.tar.gz"]
    py7zr = pytest.importorskip("py7zr", reason="7z needs py7zr")
    with py7zr.SevenZipFile(tmp_path / "train.7z", "w") as seven:
        seven.writeall(source, "train")
    for path in [*archives, tmp_path / "train.7z"]:
        assert verify_archive(path) == 10
        unpack_archive(path, tmp_path / "raw" / "train")
        assert (tmp_path / "raw" / "train" / "a.jpg").read_bytes() == b"a" * 10


def test_a_tar_does_not_lead_out(tmp_path):
    with tarfile.open(tmp_path / "evil.tar", "w") as tar:
        link = tarfile.TarInfo("link.jpg")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    with pytest.raises(KitError, match="a link or a device"):
        verify_archive(tmp_path / "evil.tar")
