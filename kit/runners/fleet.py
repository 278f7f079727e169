"""The folds of several runs on a cluster, all at once."""

import os
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kit import console, schema
from kit.errors import counted
from kit.run.run import Run
from kit.runners.attempt import Brought, Order, Piece, Tell, attempt, bring_home, run_files, write_home
from kit.workspace import Fold


@dataclass
class Fleet:
    """`address`: of the cluster's head; `None`: whatever Ray finds. `max_hours`: then every fold is at a checkpoint."""

    runs: Sequence[Run]
    folds: Sequence[Fold]
    address: str | None = None
    max_hours: float | None = None

    def finish(self) -> bool:
        """Train the folds; a run that starts from another waits for it. Returns whether all are done. Raises `KitError`
        with the first job that failed."""
        from kit.runners.ray import Cluster

        root = self.runs[0].workspace.root.resolve()
        marker = root / f".ray-{socket.gethostname()}-{os.getpid()}"
        root.mkdir(parents=True, exist_ok=True)
        marker.write_text("a node that sees this file shares the disk\n", encoding="utf-8")
        until = None if self.max_hours is None else time.time() + self.max_hours * 3600
        plain = Order(root, root, None, Path.cwd(), marker, 1, until=until)
        try:
            pieces: list[Piece] = []
            for run in self.runs:
                pieces += self._pieces(run, plain, {piece.name: piece for piece in pieces})
            if pieces:
                cluster = Cluster(self.address)
                console.stage("ray", f"{counted(len(pieces), 'job')} on {counted(cluster.num_nodes, 'node')}")
                cluster.finish(pieces)
        finally:
            marker.unlink(missing_ok=True)
            for run in self.runs:
                run.settle(None)
                for fold in self.folds:
                    bring_home(run.files.folder, fold)
        return all(run.fold(fold).is_trained for run in self.runs for fold in self.folds)

    def _pieces(self, run: Run, plain: Order, before: dict[str, Piece]) -> list[Piece]:
        """To settle the run, where it was not made yet, and each fold that is not trained."""
        folder, machine = run.files.folder.resolve(), run.asked.machine
        plain, first = replace(plain, folder=folder), list[Piece]()
        asked = (machine.gpus_per_fold or 1, machine.num_threads)
        starts = {run.asked.model.start, run.asked.train.pseudo_run} - {None}

        def needs(part: str) -> list[Piece]:
            return [before[one] for start in starts if (one := f"{start} {part}") in before]

        if not run.exists:

            def settled(cores: int) -> Callable[[Tell], Brought]:
                text = schema.dump_yaml(schema.to_mapping(run.asked))
                order = replace(plain, cores=cores, files=_tables(run), asked=text)
                return lambda tell: attempt(order, tell)

            def take(brought: Brought) -> None:
                write_home(folder, brought.files)

            first = [Piece(f"{run.name} settings", *asked, settled, take, needs("settings"))]

        def piece(fold: Fold) -> Piece:
            def trained(cores: int) -> Callable[[Tell], Brought]:
                files = _tables(run) | _sent(run_files(folder), plain.root)
                for start in starts:
                    files |= _fold_files(plain.root / "runs" / str(start), fold, plain.root)
                order = replace(plain, cores=cores, fold=fold, files=files)
                return lambda tell: attempt(order, tell)

            def take(brought: Brought) -> None:
                write_home(run.files.fold(fold).folder, brought.files)

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
