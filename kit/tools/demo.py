"""demo: the whole pipeline on real images that are already on this machine.

The 1,797 handwritten digits that scikit-learn ships (UCI ML hand-written digits, 8x8 pixels) are laid out exactly like
a Kaggle competition, and every stage runs on them; the labels held back for test1 give the score that Kaggle would
give."""

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

from kit import console
from kit.about import DEFAULT_CONFIG
from kit.errors import KitError
from kit.run.run import Run
from kit.workspace import atomic_path

TEST_EVERY = 5  # every fifth digit is held back
SIDE = 32  # pixels a side: 8 enlarged, so that a person can see them too


@dataclass(frozen=True)
class DemoResult:
    submission: Path
    cv_accuracy: float
    test_accuracy: float  # on the held-back labels
    num_test: int


def write_archives(folder: Path | str, limit: int | None = None) -> Path:
    """train.zip (`class.id.jpg`), test1.zip (`id.jpg`), sampleSubmission.csv, and solution.csv (the held-back labels).
    `limit`: use only that many digits. Existing files are kept."""
    folder, digits = Path(folder), load_digits()
    images, labels = digits.images[:limit], digits.target[:limit]
    if (folder / "solution.csv").is_file():
        return folder
    train: list[tuple[str, bytes]] = []
    test: list[tuple[str, bytes]] = []
    solution: list[tuple[int, int]] = []
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        if number % TEST_EVERY == TEST_EVERY - 1:
            test.append((f"test1/{len(test) + 1}.jpg", _jpeg(image)))
            solution.append((len(test), int(label)))
        else:
            train.append((f"train/{label}.{number}.jpg", _jpeg(image)))
    _write_zip(folder / "train.zip", train)
    _write_zip(folder / "test1.zip", test)
    truth = pd.DataFrame(solution, columns=["id", "label"])
    for name, table in (("sampleSubmission.csv", truth.assign(label=0)), ("solution.csv", truth)):
        with atomic_path(folder / name) as temporary:
            table.to_csv(temporary, index=False)
    return folder


def score_submission(submission: Path, solution: Path) -> float:
    """Accuracy of a submission on the held-back labels: what Kaggle would answer."""
    joined = pd.read_csv(submission).merge(pd.read_csv(solution), on="id", suffixes=("", "_true"))
    return float((joined["label"] == joined["label_true"]).mean())


def report(run: Run, cv: float, archives: Path) -> DemoResult:
    submission = run.workspace.submission(run.name)
    if not submission.is_file():
        raise KitError(f"{submission}: no such file; type `kit demo --force`")
    accuracy = score_submission(submission, archives / "solution.csv")
    num_test = len(pd.read_csv(submission))
    console.say()
    console.say(f"{run.competition.title}: {submission} is ready, {num_test} rows.")
    console.say(f"  cross-validated accuracy   {cv:.4f}   (what you know before you submit)")
    console.say(f"  held-back test1 labels     {accuracy:.4f}   (what Kaggle would answer)")
    console.say()
    for line in next_steps(run):
        console.say(line)
    return DemoResult(submission, cv, accuracy, num_test)


def next_steps(run: Run) -> list[str]:
    """What to type now, on a machine such as this."""
    on_cpu = run.device.type == "cpu"
    config = DEFAULT_CONFIG.replace(".yaml", "-quick.yaml" if on_cpu else "-gpu.yaml")
    takes = "under an hour on two CPU cores" if on_cpu else "a pretrained ConvNeXt, fine-tuned on the GPU"
    default = "or the default experiment, two hours" if on_cpu else "or the default experiment, from random weights"
    steps = {
        "kit doctor": "is this machine ready?", f"kit run -c {config}": takes,
        f"kit submit -c {config}": "upload it and wait for the score",
        "kit run": f"{default}; submit it with `kit submit`",
    }  # fmt: skip
    title = Run.open(config, run.workspace).competition.title
    first = f"Next, {title}. Put a token (https://www.kaggle.com/settings) in ~/.kaggle/access_token:"
    return [first, *(f"  {typed:<46}{text}" for typed, text in steps.items())]


def _jpeg(image: np.ndarray) -> bytes:
    """An 8x8 digit of 0..16 as a JPEG of SIDE pixels a side."""
    gray = np.clip(image * (255 / 16), 0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def _write_zip(path: Path, files: list[tuple[str, bytes]]) -> None:
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0)), data)
