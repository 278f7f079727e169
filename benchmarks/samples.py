"""What a sample is: columns beside the picture, and several pictures, against the same photos alone.

    python benchmarks/samples.py DIR [--photos 2000] [--epochs 10]

DIR holds Dogs vs. Cats' train.zip. To the photos a table is made up: a weight that differs between the classes, a place
that dogs and cats prefer differently, and a number that means nothing, each missing one time in ten. Then every photo
is cut into two files, its left and its right half. A row for each way to use them, all on the same two folds: the
score, the difference to the photos alone with its paired 95 % interval, and the training speed.
"""

import argparse
import tempfile
import zipfile
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pandas as pd

from kit import Experiment, Run, Workspace, run_pipeline
from kit.data.table import predictions
from kit.metrics import find_metric
from kit.schema import dump_yaml
from kit.scoring.bootstrap import paired_difference
from kit.scoring.truth import Truth

SETTINGS = (
    "data.image_size=48", "data.num_folds=2", "model.name=resnet18", "model.options={stem: imagenet, width: 0.5}",
    "train.learning_rate=0.004", "train.batch_size=64", "train.warmup_epochs=1", "tta.views=[identity]",
    "augment=[{HorizontalFlip: {}}]",
)  # fmt: skip
HALVES = {"endings": ["_left", "_right"]}
WAYS = {  # name -> (the competition's further keys, the experiment's)
    "photos": ({}, []),
    "photos, weight and place": ({"columns": {"numbers": ["weight"], "categories": ["place"]}}, ["data.columns=true"]),
    "photos, the number that means nothing": ({"columns": {"numbers": ["nothing"]}}, ["data.columns=true"]),
    "halves, as channels of one picture": ({"pictures": HALVES | {"together": "channels"}}, []),
    "halves, their predictions averaged": ({"pictures": HALVES}, []),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        write_files(given.source / "train.zip", Path(place), given.photos)
        runs = {name: trained(Path(place), name, given.epochs) for name in WAYS}
        report(runs)


def write_files(archive: Path, place: Path, count: int) -> None:
    """whole/ID.jpg, halves/ID_left.png and ID_right.png, train.csv."""
    generator, rows = np.random.default_rng(0), []
    for folder in ("whole", "halves"):
        (place / folder).mkdir()
    with zipfile.ZipFile(archive) as held:
        names = sorted(name for name in held.namelist() if name.endswith(".jpg"))
        for name in sorted(generator.choice(names, count, replace=False)):
            kind, number = Path(name).name.split(".")[:2]
            data, called = held.read(name), f"{kind[0]}{number}"
            (place / "whole" / f"{called}.jpg").write_bytes(data)
            picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
            for side, half in zip(HALVES["endings"], np.array_split(picture, 2, axis=1), strict=True):
                cv2.imwrite(str(place / "halves" / f"{called}{side}.png"), half)
            dog = kind == "dog"
            place_of = generator.choice(["garden", "sofa"], p=[0.65, 0.35] if dog else [0.35, 0.65])
            known = (generator.normal(9 if dog else 6, 3), place_of, generator.normal())
            facts = [fact if generator.random() > 0.1 else "" for fact in known]
            rows.append([called, kind, *facts])
    pd.DataFrame(rows, columns=["id", "label", "weight", "place", "nothing"]).to_csv(place / "train.csv", index=False)


def trained(place: Path, name: str, epochs: int) -> Run:
    more, settings = WAYS[name]
    folder = place / f"way{list(WAYS).index(name)}"
    folder.mkdir()
    files = folder / "files"
    files.mkdir()
    (files / "train").symlink_to(place / ("halves" if "pictures" in more else "whole"), target_is_directory=True)
    (files / "train.csv").symlink_to(place / "train.csv")
    raw = {
        "name": "pets", "title": "Pets", "files": {"train": ["train"], "train_labels": ["train.csv"]},
        "labels": {"layout": "csv", "classes": ["cat", "dog"]}, "metric": "log_loss",
        "submission": {"format": "probabilities"},
    }  # fmt: skip
    (folder / "pets.yaml").write_text(dump_yaml(raw | more))
    (folder / "run.yaml").write_text(f"name: run\ncompetition: {folder / 'pets.yaml'}\n")
    experiment = Experiment.load(folder / "run.yaml", [*SETTINGS, f"train.epochs={epochs}", *settings])
    run_pipeline(experiment, Workspace(folder), files)
    return Run.open(experiment, Workspace(folder))


def report(runs: dict[str, Run]) -> None:
    log_loss, accuracy = find_metric("log_loss"), find_metric("accuracy")
    tables = {name: pd.read_csv(run.files.oof).set_index("image_id").sort_index() for name, run in runs.items()}
    first = tables["photos"]
    truth = (first["target_label"] == "dog").to_numpy().astype(int)
    probs = {name: predictions(table.loc[first.index], runs[name].competition) for name, table in tables.items()}
    print("| way | log loss | accuracy | log loss against the photos alone (95 %) | training images/s |")
    print("|---|---|---|---|---|")
    for name, said in probs.items():
        found = paired_difference(Truth(log_loss, truth), probs["photos"], said)
        apart = f"{found.value:+.4f} ({found.interval[0]:+.4f} to {found.interval[1]:+.4f})" if name != "photos" else ""
        speed = median(line["images_per_second"] for fold in runs[name].folds() for line in fold.history)
        scores = f"{log_loss.score(truth, said):.4f} | {accuracy.score(truth, said):.4f}"
        print(f"| {name} | {scores} | {apart} | {speed:,.0f} |")


if __name__ == "__main__":
    main()
