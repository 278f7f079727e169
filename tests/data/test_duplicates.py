"""Near-identical pictures find each other; merely similar ones do not, and nothing chains."""

import io

import cv2
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

from kit.data.duplicates import MAX_GROUP, likeness, near_identical_groups
from kit.data.images import decode


def _groups(pictures: list[np.ndarray], md5: list[str] | None = None) -> np.ndarray:
    return _groups_and_apart(pictures, md5)[0]


def _groups_and_apart(pictures: list[np.ndarray], md5: list[str] | None = None) -> tuple[np.ndarray, int]:
    hashes, miniatures = zip(*map(likeness, pictures), strict=True)
    names = md5 or [str(k) for k in range(len(pictures))]
    return near_identical_groups(names, np.array(hashes, dtype=np.uint64), np.stack(miniatures))


def _jpeg(picture: np.ndarray, quality: int) -> np.ndarray:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return decode(buffer.getvalue()).rgb


def test_a_photo_meets_its_recompressed_and_resized_copies():
    church, flower = (np.asarray(image) for image in load_sample_images().images)
    pictures = [
        church,
        flower,
        _jpeg(church, 40),
        cv2.resize(flower, (300, 200), interpolation=cv2.INTER_AREA),
        church[:, ::-1],
    ]
    groups = _groups(pictures)
    assert groups[0] == groups[2]
    assert groups[1] == groups[3]
    assert len({groups[0], groups[1], groups[4]}) == 3


def test_digits_do_not_fall_into_one_heap():
    digits = [
        np.repeat(np.kron(d * 15, np.ones((4, 4))).astype(np.uint8)[:, :, None], 3, axis=2)
        for d in load_digits().images
    ]
    counts = np.unique(_groups(digits), return_counts=True)[1]
    assert counts.max() <= 3


def test_no_chaining_every_member_is_near_its_leader():
    shades = [np.full((32, 32, 3), value, np.uint8) for value in range(100, 160, 4)]
    groups = _groups(shades)
    for leader in np.unique(groups):
        members = np.flatnonzero(groups == leader)
        assert max(abs(int(shades[m][0, 0, 0]) - int(shades[leader][0, 0, 0])) for m in members) <= 0.035 * 255
    assert len(np.unique(groups)) > 1


def test_near_pairs_that_no_group_holds_are_counted():
    """Shades in a row: each is near the next two, and groups cut the row."""
    shades = [np.full((32, 32, 3), value, np.uint8) for value in range(100, 160, 4)]
    groups, apart = _groups_and_apart(shades)
    near = [(a, b) for a in range(len(shades)) for b in range(a + 1, len(shades)) if 4 * (b - a) <= 0.035 * 255]
    assert apart == sum(groups[a] != groups[b] for a, b in near) > 0
    assert _groups_and_apart(shades[:3])[1] == 0


def test_groups_are_bounded_but_copies_stay_together():
    same = [np.full((16, 16, 3), 100, np.uint8)] * 200
    assert np.unique(_groups(same), return_counts=True)[1].max() <= MAX_GROUP
    assert len(np.unique(_groups(same, ["one"] * 200))) == 1


def test_black_and_white_are_not_the_same():
    assert len(np.unique(_groups([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 255, np.uint8)]))) == 2
