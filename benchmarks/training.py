"""Training throughput: the kit beside a plain PyTorch script, fastai and timm, and the machine's own limit.

    pip install -r benchmarks/requirements.txt
    KIT_DATA=DIR python benchmarks/training.py [CASE ...] [--arms limit kit] [--repeats 5] [--seconds 8] [--memory]

DIR holds dogs-vs-cats/ and dogs-vs-cats-photos/ (train.zip each); without it, photos of about 23 KB are drawn. Every
arm is a process of its own that waits while the others work; the arms take turns, the first round does not count.
`--memory` adds a round in which each arm's peak memory is read: proportional, over its process and workers.
"""

import argparse
import io
import os
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NoReturn

import numpy as np
import psutil
from arms import ARMS, BATCH, CASES, SKIPPED
from PIL import Image

HERE = Path(__file__).resolve().parent
LEAST = 6_000  # images; fewer are repeated under other names
if TYPE_CHECKING:
    from kit import Run

COMPETITION = """name: bench
title: Benchmark
files: {train: [train], test: [test], sample_submission: [sample.csv]}
labels: {layout: filename, classes: [cat, dog]}
metric: accuracy
submission: {format: label, id_column: id, column: label}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--arms", nargs="*", default=[""], help="only those that begin so: limit kit")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each measurement, about")
    parser.add_argument("--memory", action="store_true")
    options = parser.parse_args()
    for case in options.cases:
        with tempfile.TemporaryDirectory() as place:
            prepare(Path(place), photos=case.endswith("photos"))
            compare(case, Path(place), options)


def downloaded(folder: Path, source: Path, test_picture: bytes) -> "Run":
    """A run on the pictures in source/train, downloaded; its competition has one test picture."""
    from kit import Run
    from kit.stages.download import download

    (source / "test" / "1.jpg").write_bytes(test_picture)
    (source / "sample.csv").write_text("id,label\n1,0\n")
    (folder / "competitions").mkdir()
    (folder / "competitions" / "bench.yaml").write_text(COMPETITION)
    (folder / "experiment.yaml").write_text("name: bench\ncompetition: bench\n")
    run = Run.open(folder / "experiment.yaml", folder / "workspace")
    download(run, source)
    return run


def prepare(folder: Path, photos: bool) -> None:
    """train/<class>/*.jpg for the peers; a workspace with an index for the kit, of the same files."""
    from kit.stages.index import index

    held = load_photos(photos)
    source = folder / "source"
    (source / "train").mkdir(parents=True)
    (source / "test").mkdir()
    for name in ("cat", "dog"):
        (folder / "train" / name).mkdir(parents=True)
    for number in range(max(LEAST, len(held))):
        name, data = held[number % len(held)]
        label = name.partition(".")[0]
        file = folder / "train" / label / f"{label}.{number}.jpg"
        file.write_bytes(data)
        os.link(file, source / "train" / file.name)
    run = downloaded(folder, source, held[0][1])
    index(run)


def load_photos(photos: bool) -> list[tuple[str, bytes]]:
    """(cat.1.jpg, its bytes) of the shared sets, or drawn ones of about 23 KB."""
    data = os.environ.get("KIT_DATA")
    archive = Path(data or "") / ("dogs-vs-cats-photos" if photos else "dogs-vs-cats") / "train.zip"
    if data and archive.is_file():
        with zipfile.ZipFile(archive) as held:
            names = [name for name in held.namelist() if name.endswith(".jpg")]
            names = names[:: max(1, len(names) // LEAST)]  # cats come first, dogs last
            return [(Path(name).name, held.read(name)) for name in names]
    print("KIT_DATA is not set: drawn photos", file=sys.stderr)
    generator, drawn = np.random.default_rng(0), []
    for number in range(500):
        side = (375, 499) if photos else (128, 128)
        rough = Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)).resize(side[::-1])
        noisy = np.asarray(rough) + generator.integers(-12, 13, (*side, 3))
        buffer = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG", quality=80)
        drawn.append((f"{('cat', 'dog')[number % 2]}.{number}.jpg", buffer.getvalue()))
    return drawn


class Arm:
    """A process that measures when asked."""

    def __init__(self, name: str, case: str, folder: Path) -> None:
        self.name, self.batches, self.speeds, self.errors = name, 8, [], tempfile.TemporaryFile("w+")  # noqa: SIM115
        command = [sys.executable, str(HERE / "arms.py"), name, case, str(folder)]
        surroundings = os.environ | {"NO_ALBUMENTATIONS_UPDATE": "1", "PYTHONPATH": str(HERE.parent)}
        if name.startswith(("kit", "limit")):
            surroundings["THP_MEM_ALLOC_ENABLE"] = "1"  # with what arms.py does: kit/allocator.py
        self.process = subprocess.Popen(
            command, env=surroundings, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True
        )
        if self.process.stdout.readline().strip() != "ready":
            self.fail()

    def measure(self) -> float:
        self.process.stdin.write(f"{self.batches}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            self.fail()
        return float(answer)

    def fail(self) -> NoReturn:
        self.errors.seek(0)
        raise SystemExit(f"{self.name} ended:\n{self.errors.read()[-3000:]}")

    def peak_memory(self) -> int:
        """Bytes, proportional (what is shared counts in shares), over the process and its workers."""
        done, peak = threading.Event(), 0

        def watch() -> None:
            nonlocal peak
            parent = psutil.Process(self.process.pid)
            while not done.wait(0.3):
                total = 0
                for process in [parent, *parent.children(recursive=True)]:
                    try:
                        total += process.memory_full_info().pss
                    except psutil.Error:
                        continue
                peak = max(peak, total)

        watcher = threading.Thread(target=watch)
        watcher.start()
        self.measure()
        done.set()
        watcher.join()
        return peak


def compare(case: str, folder: Path, options: argparse.Namespace) -> None:
    arms = [Arm(name, case, folder) for name in ARMS if name.startswith(("limit", *options.arms))]
    most = LEAST // BATCH - SKIPPED
    for arm in arms:  # warm-up, and how many batches fill the time
        arm.batches = int(np.clip(arm.measure() * options.seconds / BATCH, 4, most))
    for _ in range(options.repeats):
        for arm in arms:
            arm.speeds.append(arm.measure())
    peaks = {arm.name: arm.peak_memory() if options.memory else None for arm in arms}
    limit = next(arm for arm in arms if arm.name == "limit")
    print(f"\n### {case}, {options.repeats} repeats, {time.strftime('%Y-%m-%d')}\n")
    print("| arm | images/s, median (least to most) | of the limit, median of pairs | peak memory, MiB |")
    print("|---|---|---|---|")
    for arm in arms:
        ratio = median(own / top for own, top in zip(arm.speeds, limit.speeds, strict=True))
        peak = f"{peaks[arm.name] / 2**20:,.0f}" if peaks[arm.name] else ""
        spread = f"{median(arm.speeds):.1f} ({min(arm.speeds):.1f} to {max(arm.speeds):.1f})"
        print(f"| {arm.name} | {spread} | {ratio:.3f} | {peak} |", flush=True)
    for arm in arms:
        arm.process.stdin.close()
        arm.process.wait()


if __name__ == "__main__":
    main()
