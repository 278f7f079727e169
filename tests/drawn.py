"""Small drawn competitions, laid out like real ones: seeded pictures whose target can be learned from their look.

Each function writes a folder of downloads and returns nothing; what a right submission is, the tests say themselves.
"""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

SIDE = 24
COLORS = [(220, 40, 40), (40, 200, 60), (50, 80, 230), (230, 210, 50), (200, 60, 220), (60, 210, 220)]
NUM_TRAIN, NUM_TEST = 60, 12


def draw(kind: int, number: int, tone: float = 1.0) -> Image.Image:
    """A square (even kinds) or a disc (odd ones) of the kind's colour, somewhere, on a noisy ground."""
    generator = np.random.default_rng([kind, number])
    pixels = generator.integers(90, 140, (SIDE, SIDE, 3)).astype(float)
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    top, left = generator.integers(7, SIDE - 7, 2)
    inside = (np.maximum(abs(y - top), abs(x - left)) if kind % 2 == 0 else np.hypot(y - top, x - left)) < 6
    pixels[inside] = np.array(COLORS[kind % len(COLORS)]) * tone
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, ending: str) -> bytes:
    buffer = io.BytesIO()
    kind = {".jpg": "JPEG", ".png": "PNG", ".tif": "TIFF", ".webp": "WEBP"}[ending]
    image.save(buffer, kind, **({"quality": 92} if kind == "JPEG" else {}))
    return buffer.getvalue()


def write_zip(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def write_folder(path: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def _kinds(num_kinds: int, count: int, seed: int) -> np.ndarray:
    """At least a few of each."""
    return np.random.default_rng(seed).permutation(np.arange(count) % num_kinds)


def _pictures(kinds: np.ndarray, ids: list[str], ending: str, first: int = 0) -> dict[str, bytes]:
    return {
        f"{i}{ending}": encoded(draw(int(k), first + n), ending)
        for n, (k, i) in enumerate(zip(kinds, ids, strict=True))
    }


def _write_both(
    folder: Path,
    train: tuple[np.ndarray, list[str]],
    test: tuple[np.ndarray, list[str]],
    ending: str,
    train_folder: str = "train",
    test_folder: str = "test",
) -> None:
    """A folder of training and one of test pictures, each of (kinds, ids)."""
    write_folder(folder / train_folder, _pictures(*train, ending))
    write_folder(folder / test_folder, _pictures(*test, ending, 1000))


def dogs_vs_cats_redux(folder: Path) -> None:
    """File names; one probability; the same names 1.jpg, 2.jpg in the test."""
    kinds = _kinds(2, NUM_TRAIN, 0)
    ids = [f"{('cat', 'dog')[k]}.{n}" for n, k in enumerate(kinds)]
    write_zip(folder / "train.zip", {f"train/{n}": d for n, d in _pictures(kinds, ids, ".jpg").items()})
    test = _pictures(_kinds(2, NUM_TEST, 1), [str(n) for n in range(1, NUM_TEST + 1)], ".jpg", 1000)
    write_zip(folder / "test.zip", {f"test/{n}": d for n, d in test.items()})
    pd.DataFrame({"id": range(1, NUM_TEST + 1), "label": 0.5}).to_csv(folder / "sample_submission.csv", index=False)


def aerial_cactus(folder: Path) -> None:
    """A CSV of ids with their ending, in two zips."""
    kinds, test = _kinds(2, NUM_TRAIN, 0), _kinds(2, NUM_TEST, 1)
    ids, test_ids = [f"{n:04x}a" for n in range(NUM_TRAIN)], [f"{n:04x}b" for n in range(NUM_TEST)]
    write_zip(folder / "train.zip", {f"train/{n}": d for n, d in _pictures(kinds, ids, ".jpg").items()})
    write_zip(folder / "test.zip", {f"test/{n}": d for n, d in _pictures(test, test_ids, ".jpg", 1000).items()})
    pd.DataFrame({"id": [f"{i}.jpg" for i in ids], "has_cactus": kinds}).to_csv(folder / "train.csv", index=False)
    sample = pd.DataFrame({"id": [f"{i}.jpg" for i in test_ids], "has_cactus": 0.5})
    sample.to_csv(folder / "sample_submission.csv", index=False)


def histopathologic_cancer(folder: Path) -> None:
    """A CSV of ids without their ending, TIFF, folders, integers in the sample."""
    kinds, test = _kinds(2, NUM_TRAIN, 0), _kinds(2, NUM_TEST, 1)
    ids, test_ids = [f"f{n:05d}" for n in range(NUM_TRAIN)], [f"0{n:05d}" for n in range(NUM_TEST)]
    _write_both(folder, (kinds, ids), (test, test_ids), ".tif")
    pd.DataFrame({"id": ids, "label": kinds}).to_csv(folder / "train_labels.csv", index=False)
    pd.DataFrame({"id": test_ids, "label": 0}).to_csv(folder / "sample_submission.csv", index=False)


def dog_breed(folder: Path, num_breeds: int = 120) -> None:
    """A CSV of strings; the sample has 120 columns of them."""
    breeds = [f"{'abcdefghij'[n % 10]}{n:03d}_hound" for n in range(num_breeds)]
    kinds, test = _kinds(num_breeds, 2 * num_breeds, 0), _kinds(num_breeds, NUM_TEST, 1)
    ids, test_ids = [f"a{n:05d}" for n in range(len(kinds))], [f"b{n:05d}" for n in range(NUM_TEST)]
    _write_both(folder, (kinds, ids), (test, test_ids), ".jpg")
    pd.DataFrame({"id": ids, "breed": [breeds[k] for k in kinds]}).to_csv(folder / "labels.csv", index=False)
    sample = pd.DataFrame(1 / num_breeds, index=range(NUM_TEST), columns=sorted(breeds))
    sample.insert(0, "id", test_ids)
    sample.to_csv(folder / "sample_submission.csv", index=False)


def leaf_classification(folder: Path, num_species: int = 99) -> None:
    """One folder of pictures for train and test, a CSV with tabular columns beside the species, 99 wide columns."""
    species = [f"Quercus_{n:02d}" for n in range(num_species)]
    kinds = _kinds(num_species, 2 * num_species + NUM_TEST, 0)
    ids = list(range(1, len(kinds) + 1))
    write_folder(folder / "images", _pictures(kinds, [str(i) for i in ids], ".jpg"))
    table = pd.DataFrame({"id": ids, "species": [species[k] for k in kinds]})
    margins = np.random.default_rng(0).random((len(kinds), 6)).round(6)
    table[[f"margin{n}" for n in range(6)]] = margins
    table[:-NUM_TEST].to_csv(folder / "train.csv", index=False)
    table[-NUM_TEST:].drop(columns="species").to_csv(folder / "test.csv", index=False)
    sample = pd.DataFrame(1 / num_species, index=range(NUM_TEST), columns=sorted(species))
    sample.insert(0, "id", ids[-NUM_TEST:])
    sample.to_csv(folder / "sample_submission.csv", index=False)


def plant_pathology_2020(folder: Path) -> None:
    """One-hot columns, a folder that train and test share."""
    names = ["healthy", "multiple_diseases", "rust", "scab"]
    kinds, test = _kinds(4, NUM_TRAIN, 0), _kinds(4, NUM_TEST, 1)
    train_ids, test_ids = [f"Train_{n}" for n in range(NUM_TRAIN)], [f"Test_{n}" for n in range(NUM_TEST)]
    write_folder(folder / "images", _pictures(kinds, train_ids, ".jpg") | _pictures(test, test_ids, ".jpg", 1000))
    table = pd.DataFrame(np.eye(4, dtype=int)[kinds], columns=names)
    table.insert(0, "image_id", train_ids)
    table.to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"image_id": test_ids}).to_csv(folder / "test.csv", index=False)
    sample = pd.DataFrame(0.25, index=range(NUM_TEST), columns=names)
    sample.insert(0, "image_id", test_ids)
    sample.to_csv(folder / "sample_submission.csv", index=False)


def aptos2019(folder: Path) -> None:
    """Grades 0 to 4, PNG, hard labels."""
    kinds, test = _kinds(5, NUM_TRAIN, 0), _kinds(5, NUM_TEST, 1)
    train_ids, test_ids = [f"{n:06x}c" for n in range(NUM_TRAIN)], [f"{n:06x}d" for n in range(NUM_TEST)]
    _write_both(folder, (kinds, train_ids), (test, test_ids), ".png", "train_images", "test_images")
    pd.DataFrame({"id_code": train_ids, "diagnosis": kinds}).to_csv(folder / "train.csv", index=False)
    pd.DataFrame({"id_code": test_ids}).to_csv(folder / "test.csv", index=False)
    pd.DataFrame({"id_code": test_ids, "diagnosis": 0}).to_csv(folder / "sample_submission.csv", index=False)


def ranzcr_clip(folder: Path) -> None:
    """Eleven columns of 0 and 1, several at once, and patients with several pictures."""
    names = [
        "ETT - Abnormal", "ETT - Borderline", "ETT - Normal", "NGT - Abnormal", "NGT - Borderline",
        "NGT - Incompletely Imaged", "NGT - Normal", "CVC - Abnormal", "CVC - Borderline", "CVC - Normal",
        "Swan Ganz Catheter Present",
    ]  # fmt: skip
    kinds, test = _kinds(6, NUM_TRAIN, 0), _kinds(6, NUM_TEST, 1)
    train_ids, test_ids = [f"1.2.826.{n}" for n in range(NUM_TRAIN)], [f"1.2.840.{n}" for n in range(NUM_TEST)]
    _write_both(folder, (kinds, train_ids), (test, test_ids), ".jpg")
    kind, column = np.ix_(kinds, np.arange(11))
    marks = ((kind + column) % 3 == 0) | (column == kind)
    table = pd.DataFrame(marks.astype(int), columns=names)
    table.insert(0, "StudyInstanceUID", train_ids)
    table["PatientID"] = [f"p{n // 3}" for n in range(NUM_TRAIN)]
    table.to_csv(folder / "train.csv", index=False)
    sample = pd.DataFrame(0, index=range(NUM_TEST), columns=names)
    sample.insert(0, "StudyInstanceUID", test_ids)
    sample.to_csv(folder / "sample_submission.csv", index=False)


def siim_isic(folder: Path) -> None:
    """A CSV with metadata and patients; a number in the sample where a probability is meant."""
    kinds, test = _kinds(2, NUM_TRAIN, 0), _kinds(2, NUM_TEST, 1)
    train_ids, test_ids = [f"ISIC_{n:07d}" for n in range(NUM_TRAIN)], [f"ISIC_9{n:06d}" for n in range(NUM_TEST)]
    _write_both(folder, (kinds, train_ids), (test, test_ids), ".jpg")
    generator = np.random.default_rng(0)
    table = pd.DataFrame({
        "image_name": train_ids, "patient_id": [f"IP_{n // 4}" for n in range(NUM_TRAIN)],
        "sex": generator.choice(["male", "female"], NUM_TRAIN), "age_approx": generator.integers(20, 80, NUM_TRAIN),
        "benign_malignant": np.where(kinds == 1, "malignant", "benign"), "target": kinds,
    })  # fmt: skip
    table.to_csv(folder / "train.csv", index=False)
    table[["image_name", "patient_id"]].head(NUM_TEST).assign(image_name=test_ids).to_csv(
        folder / "test.csv", index=False
    )
    pd.DataFrame({"image_name": test_ids, "target": 0}).to_csv(folder / "sample_submission.csv", index=False)


def whale(folder: Path) -> None:
    """Identities, some seen once, many pictures of none of them: five guesses a row."""
    names = ["new_whale", "w_1a", "w_2b", "w_3c", "w_4d", "w_5e"]
    kinds, test = np.r_[_kinds(6, NUM_TRAIN, 0), np.zeros(20, int)], _kinds(6, NUM_TEST, 1)
    train_ids, test_ids = [f"{n:08x}" for n in range(len(kinds))], [f"f{n:07x}" for n in range(NUM_TEST)]
    _write_both(folder, (kinds, train_ids), (test, test_ids), ".jpg")
    table = pd.DataFrame({"Image": [f"{i}.jpg" for i in train_ids], "Id": [names[k] for k in kinds]})
    lonely = pd.DataFrame({"Image": ["alone.jpg"], "Id": ["w_9z"]})
    write_folder(folder / "train", {"alone.jpg": encoded(draw(9, 1), ".jpg")})
    pd.concat([table, lonely]).to_csv(folder / "train.csv", index=False)
    guess = "new_whale w_1a w_2b w_3c w_4d"
    sample = pd.DataFrame({"Image": [f"{i}.jpg" for i in test_ids], "Id": guess})
    sample.to_csv(folder / "sample_submission.csv", index=False)


def cassava(folder: Path) -> None:
    """Classes by number, hard labels; the same file names in train and test."""
    kinds, test = _kinds(5, NUM_TRAIN, 0), _kinds(5, NUM_TEST, 1)
    train_ids, test_ids = [str(1000 + n) for n in range(NUM_TRAIN)], [str(1000 + n) for n in range(NUM_TEST)]
    _write_both(folder, (kinds, train_ids), (test, test_ids), ".jpg", "train_images", "test_images")
    table = pd.DataFrame({"image_id": [f"{i}.jpg" for i in train_ids], "label": kinds})
    table.to_csv(folder / "train.csv", index=False)
    sample = pd.DataFrame({"image_id": [f"{i}.jpg" for i in test_ids], "label": 4})
    sample.to_csv(folder / "sample_submission.csv", index=False)


def plant_pathology_2021(folder: Path) -> None:
    """Several words a cell."""
    words = ["healthy", "scab", "rust", "scab frog_eye_leaf_spot", "rust frog_eye_leaf_spot", "complex"]
    kinds, test = _kinds(6, NUM_TRAIN, 0), _kinds(6, NUM_TEST, 1)
    train_ids, test_ids = [f"8{n:05x}" for n in range(NUM_TRAIN)], [f"9{n:05x}" for n in range(NUM_TEST)]
    _write_both(folder, (kinds, train_ids), (test, test_ids), ".jpg", "train_images", "test_images")
    table = pd.DataFrame({"image": [f"{i}.jpg" for i in train_ids], "labels": [words[k] for k in kinds]})
    table.to_csv(folder / "train.csv", index=False)
    sample = pd.DataFrame({"image": [f"{i}.jpg" for i in test_ids], "labels": "healthy"})
    sample.to_csv(folder / "sample_submission.csv", index=False)


def petfinder(folder: Path) -> None:
    """A score of 1 to 100 beside a dozen columns of metadata; it is the picture's brightness."""
    tones = np.random.default_rng(0).uniform(0.2, 1.0, NUM_TRAIN + NUM_TEST)
    ids = [f"{n:08x}" for n in range(len(tones))]
    data = {f"{i}.jpg": encoded(draw(3, n, tone), ".jpg") for n, (i, tone) in enumerate(zip(ids, tones, strict=True))}
    write_folder(folder / "train", {name: data[name] for name in list(data)[:NUM_TRAIN]})
    write_folder(folder / "test", {name: data[name] for name in list(data)[NUM_TRAIN:]})
    table = pd.DataFrame({"Id": ids})
    for column in ("Focus", "Eyes", "Face", "Near"):
        table[column] = np.random.default_rng(len(column)).integers(0, 2, len(ids))
    train = table[:NUM_TRAIN].assign(Pawpularity=(tones[:NUM_TRAIN] * 100).round().astype(int))
    train.to_csv(folder / "train.csv", index=False)
    table[NUM_TRAIN:].to_csv(folder / "test.csv", index=False)
    sample = pd.DataFrame({"Id": ids[NUM_TRAIN:], "Pawpularity": np.linspace(20, 80, NUM_TEST).round(2)})
    sample.to_csv(folder / "sample_submission.csv", index=False)


def herbarium(folder: Path) -> None:
    """COCO's JSON: the files' names are not their ids, and lie in subfolders."""
    kinds, test = _kinds(4, NUM_TRAIN, 0), _kinds(4, NUM_TEST, 1)
    for split, kinds_of, first in (("train", kinds, 0), ("test", test, 5000)):
        names = [f"{n % 3}/{first + n:05d}" for n in range(len(kinds_of))]
        write_folder(folder / split, _pictures(kinds_of, names, ".jpg", first))
        images = [{"id": first + n, "file_name": f"{name}.jpg"} for n, name in enumerate(names)]
        marks = [{"id": n, "image_id": first + n, "category_id": 10 * (4 - int(k))} for n, k in enumerate(kinds_of)]
        raw = {"images": images} | ({"annotations": marks} if split == "train" else {})
        raw |= (
            {"categories": [{"id": 10 * (4 - k), "name": f"plant {k}"} for k in range(4)]} if split == "train" else {}
        )
        (folder / f"{split}_metadata.json").write_text(json.dumps(raw))
    sample = pd.DataFrame({"Id": range(5000, 5000 + NUM_TEST), "Predicted": 0})
    sample.to_csv(folder / "sample_submission.csv", index=False)


def happywhale(folder: Path) -> None:
    """Individuals of two species; the sample's first guess stands for none of them, and none is trained on as such."""
    names = ["37c7aba9", "60008f29", "4b00fe57", "12e45678", "99abcdef", "aaaa0000"]
    kinds, test = _kinds(6, NUM_TRAIN, 0), _kinds(6, NUM_TEST, 1)
    train_ids, test_ids = [f"{n:04x}0" for n in range(NUM_TRAIN)], [f"{n:04x}1" for n in range(NUM_TEST)]
    _write_both(folder, (kinds, train_ids), (test, test_ids), ".jpg", "train_images", "test_images")
    table = pd.DataFrame({
        "image": [f"{i}.jpg" for i in train_ids], "species": np.where(kinds < 3, "beluga", "orca"),
        "individual_id": [names[k] for k in kinds],
    })  # fmt: skip
    table.to_csv(folder / "train.csv", index=False)
    guess = " ".join([names[0], names[1], names[2], names[4], "new_individual"])
    sample = pd.DataFrame({"image": [f"{i}.jpg" for i in test_ids], "predictions": guess})
    sample.to_csv(folder / "sample_submission.csv", index=False)
