"""What one fold's model learns from: the other folds' images, extra pictures, test images with confident
pseudo-labels."""

from dataclasses import dataclass, replace

import numpy as np

from kit import console
from kit.data.table import labelled_test, predictions, readable
from kit.errors import ConfigError, KitError, examples
from kit.run.run import RunFold
from kit.run.samples import Samples


@dataclass(frozen=True)
class TrainingSet:
    """`rows` of `samples`: `own` first, then the pseudo-labelled ones, whose targets are the teacher's."""

    samples: Samples
    own: np.ndarray
    pseudo: np.ndarray

    @property
    def rows(self) -> np.ndarray:
        return np.concatenate([self.own, self.pseudo])

    @property
    def targets(self) -> np.ndarray:
        """Of `rows`."""
        return self.samples.targets[self.rows]


def training_set(fold: RunFold) -> TrainingSet:
    """The fold's training set, with the test images that its teacher (`train.pseudo_run`) is confident about. The
    teacher is that run's model of the same fold: no image that scores this fold had a part in its labels. Test images
    near-identical to one of those are left out."""
    run, samples = fold.run, fold.run.training_samples
    train, competition = run.experiment.train, run.competition
    own = samples.training_rows(fold.number)
    if train.pseudo_run is None:
        return TrainingSet(samples, own, np.empty(0, np.int64))
    name, teacher = train.pseudo_run, run.earlier(train.pseudo_run)
    if competition.task not in {"classes", "ordinal"}:
        raise ConfigError(f"train.pseudo_run: needs one class per image; the task is {competition.task}")
    if teacher.competition.name != competition.name:
        raise ConfigError(f"train.pseudo_run: run {name} is for {teacher.competition.name}, not {competition.name}")
    file = teacher.fold(fold.number).files.test
    if not file.is_file():
        raise KitError(f"{file}: no such file; train and predict run {name} first (train.pseudo_run)")
    probs = predictions(table := teacher.fold(fold.number).test(), competition)
    sure = probs.max(axis=1) >= train.pseudo_threshold
    label_of = dict(zip(table.loc[sure, "image_id"], probs[sure].argmax(axis=1), strict=True))
    index = samples.index
    free = (index["split"] == "test").to_numpy() & readable(index) & ~labelled_test(index)  # those are for scores
    scored = index["group"].iloc[samples.scored_rows(fold.number)]
    free &= ~index["group"].isin(set(scored)).to_numpy()
    added = np.flatnonzero(free & index["image_id"].isin(set(label_of)).to_numpy())
    targets = samples.targets.copy()
    targets[added] = [label_of[image_id] for image_id in index["image_id"].iloc[added]]
    return TrainingSet(replace(samples, targets=targets), own, added)


def show_pseudo_labels(fold: RunFold, made: TrainingSet) -> None:
    """Show how many test images of each class this fold is also trained on."""
    train, classes = fold.run.experiment.train, fold.run.competition.classes
    added = made.samples.targets[made.pseudo]
    counts = np.bincount(added, minlength=len(classes))
    each = examples((f"{name} {count:,}" for name, count in zip(classes, counts, strict=True)), 6)
    console.stage("train", f"{fold.title}: {len(added):,} test images {train.pseudo_run} is confident about: {each}")
    if not len(added):
        console.warn(f"train.pseudo_run: no test image reaches train.pseudo_threshold {train.pseudo_threshold:g}")
