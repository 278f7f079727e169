"""Where a fold's network gets its pictures from: training batches, the fold's own images, a benchmark's test set."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from kit.batch import Batch
from kit.data.loader import Batches, epoch_order
from kit.data.pixels import most_pictures
from kit.data.transforms import build_augment
from kit.device.accelerator import pins_memory
from kit.run.run import RunFold
from kit.run.training_set import TrainingSet
from kit.training.loop import Feed
from kit.training.share import Share


def feed_of(fold: RunFold, made: TrainingSet, num_workers: int, share: Share | None = None) -> Feed:
    """Training batches are augmented, by counted randomness, and prepared by `num_workers` processes. `share`: of every
    batch this process gets its part."""
    run, number = fold.run, fold.number
    experiment, samples, rows = run.experiment, made.samples, made.rows
    size, pin = experiment.train.batch_size, pins_memory(run.device)
    learned, scored = (
        partial(
            Batches,
            samples.pixels,
            targets,
            batch_size=size,
            image_size=experiment.data.image_size,
            columns=samples.columns,
        )
        for targets in (samples.targets, samples.given)
    )

    def batches(epoch: int, start: int) -> Iterator[Batch]:
        order, side = epoch_order(rows, size, experiment.seed, number, epoch), experiment.side(epoch)
        augment = build_augment(experiment.augment, side, experiment.augment_strength)
        shown = replace(learned(order=order), image_size=side, augment=augment)
        shown = replace(shown, image_key=(experiment.seed, number, epoch))
        shown = replace(shown, share=(share.rank, share.world)) if share is not None else shown
        return shown.stream(start, num_workers, pin)

    def watched(rows: np.ndarray) -> Callable[[], Iterable[Batch]] | None:
        own = rows if share is None else share.of(rows)
        few = max(1, size // most_pictures(samples.pixels))
        return (lambda: scored(order=own, batch_size=few).stream(0, pin_memory=pin)) if len(rows) else None

    order = epoch_order(rows, size, experiment.seed, number, 0)
    return Feed(
        num_steps=-(-len(order) // size),
        num_images=len(order),
        batches=batches,
        validation=watched(samples.scored_rows(number)),
        metric=run.competition.scoring,
        image_ids=lambda numbers: samples.index["image_id"].iloc[numbers].tolist(),
        test=watched(samples.labelled_test_rows if number == "full" else np.empty(0, np.int64)),
    )
