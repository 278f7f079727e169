"""The folds of several runs on a cluster, all at once."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kit import console, schema
from kit.errors import counted
from kit.locks import lock
from kit.processes import mark
from kit.run.drawing import draw_curves
from kit.run.run import Run
from kit.run.sharing import gpus_needed
from kit.runners.attempt import Brought, Order, Piece, Tell, attempt, bring_home, run_files, write_home
from kit.workspace import Fold


@dataclass
class Fleet:
    """`address`: of the cluster's head; `None`: whatever Ray finds. `max_hours`: then every fold is at a checkpoint."""

    runs: Sequence[Run]
    folds: Sequence[Fold]
    address: str | None = None
    max_hours: float | None = None
    is_shared: bool = True  # whether the nodes that trained see the workspace

    def finish(self) -> bool:
        """Train the folds; a run that starts from another waits for it. Returns whether all are done. Raises `KitError`
        with the first job that failed."""
        root = self.runs[0].workspace.root.resolve()
        marker = root / f".ray-{mark()}"
        root.mkdir(parents=True, exist_ok=True)
        marker.write_text("a node that sees this file shares the disk\n", encoding="utf-8")
        until = None if self.max_hours is None else time.time() + self.max_hours * 3600
        plain = Order(root, root, None, Path.cwd(), marker, 1, until=until)
        try:
            pieces: list[Piece] = []
            for run in self.runs:
                if run.exists:
                    run.freeze()  # as asked for now
                pieces += self._pieces(run, plain, {piece.name: piece for piece in pieces})
            if pieces:
                from kit.runners.ray import Cluster

                cluster = Cluster(self.address)
                console.stage("ray", f"{counted(len(pieces), 'job')} on {counted(cluster.num_nodes, 'node')}")
                self._finish(cluster, pieces)
        finally:
            marker.unlink(missing_ok=True)
        return all(run.fold(fold).is_trained for run in self.runs for fold in self.folds)

    def _finish(self, cluster: Any, pieces: Sequence[Piece]) -> None:
        """One command at a time for each run."""
        with ExitStack() as held:
            for run in self.runs:
                place = run.files.folder.with_name(f".{run.name}.ray.lock")
                held.enter_context(lock(place, f"{run.name} on a cluster"))
            try:
                cluster.finish(pieces)
            finally:
                for run in self.runs:
                    run.settle(None)
                    for fold in self.folds:
                        bring_home(run.files.folder, fold)
                    draw_curves(run)

    def _pieces(self, run: Run, plain: Order, before: dict[str, Piece]) -> list[Piece]:
        """To settle the run, where it was not made yet, and each fold that is not trained."""
        folder, files = plain.root / "runs" / run.name, run.files
        plain, first = replace(plain, folder=folder), list[Piece]()
        asked = (gpus_needed(run.folds(self.folds)), run.experiment.machine.num_threads)
        starts = {run.asked.model.start, run.asked.train.pseudo_run} - {None}

        def needs(part: str) -> list[Piece]:
            return [before[one] for start in starts if (one := f"{start} {part}") in before]

        if not run.exists:

            def settled(cores: int) -> Callable[[Tell], Brought]:
                text = schema.dump_yaml(schema.to_mapping(run.asked))
                order = replace(plain, cores=cores, files=_tables(run), asked=text)
                return lambda tell: attempt(order, tell)

            def take(brought: Brought) -> None:
                write_home(files.experiment, brought.files)

            first = [Piece(f"{run.name} settings", *asked, settled, take, needs("settings"))]

        def piece(fold: Fold) -> Piece:
            def trained(cores: int) -> Callable[[Tell], Brought]:
                files = _tables(run) | _sent(run_files(folder), plain.root)
                for start in starts:
                    files |= _fold_files(plain.root / "runs" / str(start), fold, plain.root)
                order = replace(plain, cores=cores, fold=fold, files=files)
                return lambda tell: attempt(order, tell)

            def take(brought: Brought) -> None:
                self.is_shared = self.is_shared and not brought.files
                write_home(files.fold(fold).trained, brought.files)

            name = f"fold {fold}"
            return Piece(f"{run.name} {name}", *asked, trained, take, first + needs(name))

        return first + [piece(fold) for fold in self.folds if not run.fold(fold).is_trained]


def _tables(run: Run) -> dict[str, bytes]:
    """What a node with a disk of its own has to know of the competition."""
    return _sent([run.workspace.index(run.competition.name), run.competition_folds], run.workspace.root)


def _fold_files(folder: Path, fold: Fold, root: Path) -> dict[str, bytes]:
    """Of a run that another one starts or learns from."""
    files = [path for path in (folder / f"fold_{fold}").glob("*") if path.suffix != ".ckpt"]
    return _sent([*run_files(folder), *files], root)


def _sent(paths: Sequence[Path], root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in paths if path.is_file()}
