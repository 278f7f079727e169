"""The one place that knows Ray: folds of runs as tasks on the nodes of a cluster, each a `kit train` of its own.

Nothing is kept in Ray: what is done lies in the workspace. Killed at any moment, the same command goes on."""

import contextlib
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kit import console
from kit.errors import ConfigError, KitError, counted, reason
from kit.processes import mark, num_cores
from kit.runners.attempt import Piece, Tell, on_shared_disk
from kit.runners.job import Job

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
try:
    import ray
    from ray.exceptions import RayError, RayTaskError
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
except ModuleNotFoundError as missing:
    raise ConfigError(f"--on ray: Ray is not installed ({missing.name}); pip install -e '.[ray]'") from None

RETRIES = 8  # of a task whose node was lost
MEMORY = 100_000_000  # bytes of Ray's own store, where it is started here
MOST, _EPOCH = 40, re.compile(r"^train fold \S+\s+epoch\s+(\S+).*valid loss \S+\s+(\S+ \S+).*$")  # of what a job says
TELL, PING, GONE = 30.0, 2.0, 3  # seconds between tables, of patience with the head, and how often it may fail


@dataclass
class Board:
    """What the tasks say, until the driver reads it."""

    lines: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, name: str, node: str, line: str) -> None:
        self.lines.append((name, node, line))

    def take(self) -> list[tuple[str, str, str]]:
        lines, self.lines = self.lines, []
        return lines


class Cluster:
    """`address`: of a cluster's head, `host:port`; `None`: the one that this machine belongs to, else one made of this
    machine alone. Raises `ConfigError` where there is none, or where its Ray or Python is another one."""

    def __init__(self, address: str | None = None, gpus_per_job: int = 1) -> None:
        require_head(address)
        self._gpus_per_job = gpus_per_job
        common: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": True}
        try:
            try:
                ray.init(address=address or "auto", **common)
            except ConnectionError:
                if address is not None:
                    raise
                ray.init(include_dashboard=False, object_store_memory=MEMORY, num_cpus=num_cores(), **common)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            said = " ".join(str(error).split())
            if "ersion mismatch" in said:
                raise ConfigError(f"--on ray: {said[:300]}") from None
            raise ConfigError(f"--on ray:{address or ''}: no cluster answers there ({reason(error)})") from None
        self._head = ray.get_runtime_context().gcs_address
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        actor: Any = ray.remote(Board)
        self._board: Any = actor.options(num_cpus=0, scheduling_strategy=here).remote()

    def resources(self, piece: Piece) -> dict[str, float]:
        """Of its task: GPUs, or, where the cluster has none, cores. Raises `ConfigError` where no node has as many."""
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        if not nodes:
            raise ConfigError("--on ray: no node of the cluster has a CPU to compute on")
        most = max(int(node.get("GPU", 0)) for node in nodes)
        if not most:
            smallest = int(min(node["CPU"] for node in nodes))
            return {"num_cpus": min(piece.cores or smallest, smallest)}
        if piece.gpus > most:
            raise ConfigError(f"machine.gpus_per_fold: {piece.gpus}, and no node of the cluster has more than {most}")
        share = min(node["CPU"] / node["GPU"] for node in nodes if node.get("GPU"))
        return {"num_gpus": piece.gpus, "num_cpus": max(1, int(share * piece.gpus))}

    def finish(self, pieces: Sequence[Piece], most: int | None = None) -> None:
        """All of them, at most `most` at a time, each when what it needs is done. After a failure nothing new begins,
        and what runs is waited for; then its `KitError` is raised. However this ends, no process is left."""
        running: dict[Any, Piece] = {}
        failed: list[KitError] = []
        told, shown = time.monotonic(), ""
        try:
            while True:
                for piece in [] if failed else pieces:
                    free = most is None or len(running) < most
                    if free and piece.state == "waits" and all(need.state == "done" for need in piece.needs):
                        running[self._submit(piece)] = piece
                        piece.state = "queued"
                if not running:
                    break
                self._require_head()
                ready, _ = ray.wait(list(running), timeout=0.5)
                self._read_board(pieces)
                for one in ready:
                    piece = running.pop(one)
                    error = self._taken(one, piece)
                    failed += [error] if error is not None else []
                view = repr([(piece.name, piece.state) for piece in pieces])
                if view != shown and (ready or time.monotonic() - told > TELL):
                    _show(pieces)
                    told, shown = time.monotonic(), view
        finally:
            self.close()
        if failed:
            raise failed[0]

    def close(self) -> None:
        """End all tasks; a head that does not answer is not waited for."""
        ending = threading.Thread(target=ray.shutdown, daemon=True)
        ending.start()
        ending.join(20)

    @property
    def num_nodes(self) -> int:
        return sum(1 for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU"))

    def run(self, jobs: Sequence[Job]) -> list[Job]:
        """Jobs that are command lines (a `Runner`): on a disk that the nodes share. A job begins when there is room."""
        late, cwd, markers = list[Job](), Path.cwd(), set[Path]()

        def piece(number: int, job: Job) -> Piece:
            def make(cores: int) -> Callable[[Tell], Any]:
                words = list(job.arguments() or ())
                if not words:
                    late.append(job)
                    return lambda tell: None
                place = words.index("--workspace") + 1
                root = (cwd / words[place]).resolve()
                words[place], marker = str(root), root / f".ray-{mark()}"
                marker.write_text("a node that sees this file shares the disk\n", encoding="utf-8")
                markers.add(marker)
                return lambda tell: on_shared_disk(words, marker, cwd, cores, tell)

            return Piece(f"{job.name} {number}", self._gpus_per_job, None, make, lambda brought: None)

        pieces = [piece(number, job) for number, job in enumerate(jobs, 1)]
        try:
            self.finish(pieces, self._num_slots(pieces[0]) if pieces else None)
        finally:
            for marker in markers:
                marker.unlink(missing_ok=True)
        return late

    def _num_slots(self, piece: Piece) -> int:
        """How many tasks like this one run at a time."""
        given, total = self.resources(piece), ray.cluster_resources()
        kinds = (("num_gpus", "GPU"), ("num_cpus", "CPU"))
        return max(1, min(int(total.get(kind, 0) // given[key]) for key, kind in kinds if given.get(key)))

    def _submit(self, piece: Piece) -> Any:
        given = self.resources(piece)
        do, board, name = piece.make(int(given["num_cpus"])), self._board, piece.name

        def task() -> Any:
            node = ray.util.get_node_ip_address()
            number = ray.get_runtime_context().get_node_id()[:6]

            def tell(line: str) -> None:
                board.add.remote(name, f"{node} ({number})", line)

            tell("begins")
            return do(tell)

        return ray.remote(task).options(max_retries=RETRIES, **given).remote()

    def _taken(self, one: Any, piece: Piece) -> KitError | None:
        try:
            piece.take(ray.get(one))
        except RayTaskError as error:
            cause = error.cause if isinstance(error.cause, KitError) else None
            piece.state = "failed"
            return KitError(f"{piece.name} on {piece.node}: {cause or reason(error.cause or error)}")
        except RayError as error:
            piece.state = "failed"
            return KitError(f"{piece.name}: {reason(error)}; type the same command to go on")
        piece.state = "done"
        return None

    def _read_board(self, pieces: Sequence[Piece]) -> None:
        by_name = {piece.name: piece for piece in pieces}
        with contextlib.suppress(RayError):
            for name, node, line in ray.get(self._board.take.remote(), timeout=10):
                piece = by_name[name]
                if line == "begins" and piece.state == "runs":
                    console.warn(f"{name}: its node {piece.node} was lost; it goes on on {node}")
                if line == "begins":
                    piece.state, piece.node = "runs", node
                    continue
                piece.said = line
                if line.startswith(("from epoch", "warning")) or "epoch" in line:
                    console.say(f"{name} | {line}")

    def _require_head(self) -> None:
        for _ in range(GONE):
            if _answers(self._head):
                return
            time.sleep(PING)
        raise KitError(
            f"the Ray head at {self._head} is gone, and its jobs with it; start it and type the same command"
        )


def require_head(address: str | None) -> None:
    """Raise `ConfigError` where nothing answers; Ray itself would try for ten minutes."""
    if address is not None and not _answers(address):
        raise ConfigError(f"--on ray:{address}: no cluster answers there; expected host:port of its head")


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=PING).close()
    except (OSError, ValueError):
        return False
    return True


def _show(pieces: Sequence[Piece]) -> None:
    rows = [[piece.name, piece.state, piece.node, _EPOCH.sub(r"epoch \1  \2", piece.said)[:MOST]] for piece in pieces]
    done = sum(piece.state == "done" for piece in pieces)
    console.table(f"{done} of {counted(len(pieces), 'job')} done", ["job", "state", "node", "says"], rows)
