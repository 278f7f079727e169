"""What a session on Kaggle is given: the kit's code, experiments and tables, packed into the one script it runs."""

import base64
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kit import schema
from kit.competition import Competition
from kit.config import Experiment
from kit.errors import ConfigError
from kit.metrics.own import is_own
from kit.run.run import Run
from kit.workspace import Fold, expanded

PACKAGE = Path(schema.__file__).parent
TABLES = "tables.json"
MOST_BYTES = 1_000_000  # of a script
UNPACK = '''\
import base64
import io
import os
import sys
import tarfile
import tempfile

KAGGLE = "/kaggle"
CARGO = """
{cargo}
"""
place = tempfile.mkdtemp(prefix="kit-")
with tarfile.open(fileobj=io.BytesIO(base64.b64decode(CARGO)), mode="r:xz") as packed:
    packed.extractall(place, filter="data")
sys.path.insert(0, os.path.join(place, "code"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))
'''
SCRIPT = '''\
"""{title}

Trains the folds of these experiments, as `kit run --on kaggle` asked for, with the kit's code, packed below. What it
leaves in /kaggle/working is fetched by the same command."""

{unpack}
from kit.tools.session import session  # noqa: E402

sys.exit(session(KAGGLE, place))
'''


@dataclass(frozen=True)
class Task:
    """What the session is to do. `experiments`: a mapping each; `folds` of all of them; `raw`: owner/slug of a dataset
    that holds the competition's files, where it is not on Kaggle; `weights` and `tables`: of those with weights files
    and with tables that are too large for the script; `previous`: owner/slug of the session whose output is mounted,
    "" for the first."""

    slug: str
    competition: str | None
    experiments: list[dict[str, Any]]
    folds: list[Fold]
    hours: float
    raw: str = ""
    weights: str = ""
    tables: str = ""
    previous: str = ""

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.raw, self.weights, self.tables)))


def script(task: Task, files: Mapping[str, Path | str]) -> str:
    """The text to push. `files`: path in the cargo -> a file, or its text."""
    names = ", ".join(experiment["name"] for experiment in task.experiments)
    unpack = UNPACK.format(cargo=packed({**files, "task.json": json.dumps(asdict(task))}))
    return SCRIPT.format(title=f"{names}: a session of the kit on Kaggle's GPUs.", unpack=unpack)


def packed(files: Mapping[str, Path | str]) -> str:
    """base64 of a tar.xz with the kit's code and these files, in lines."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:xz", preset=9) as archive:
        for path in sorted(PACKAGE.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts and "configs" not in path.relative_to(PACKAGE).parts:
                _add(archive, f"code/kit/{path.relative_to(PACKAGE).as_posix()}", path)
        for name, content in files.items():
            _add(archive, name, content)
    text = base64.b64encode(made.getvalue()).decode()
    return "\n".join(text[start : start + 120] for start in range(0, len(text), 120))


def _add(archive: tarfile.TarFile, name: str, content: Path | str) -> None:
    data = content.read_bytes() if isinstance(content, Path) else content.encode()
    info = tarfile.TarInfo(name)
    info.size = len(data)
    archive.addfile(info, io.BytesIO(data))


def localised(experiment: Experiment) -> dict[str, Any]:
    """The experiment as it reads in the cargo: what names a file here names it there."""
    data = experiment.data
    if data.corrections is not None:
        data = replace(data, corrections=_corrections(experiment))
    model = experiment.model
    if has_own_weights(experiment):
        model = replace(model, weights=f"weights/{expanded(model.weights).name}")
    name = Competition.load(experiment.competition).name
    return schema.to_mapping(replace(experiment, competition=name, data=data, model=model, members=()))


def at_home(frozen: Experiment, asked: Experiment) -> Experiment:
    """The experiment of a fetched run, with its files named as they are here."""
    data = replace(frozen.data, corrections=asked.data.corrections)
    model = replace(frozen.model, weights=asked.model.weights)
    return replace(frozen, competition=asked.competition, data=data, model=model)


def has_own_weights(experiment: Experiment) -> bool:
    return experiment.model.weights not in {"none", "timm"}


def settings_for(runs: Sequence[Run]) -> dict[str, Path | str]:
    """The competition's YAML, with a metric of one's own, and corrections."""
    competition = runs[0].competition
    raw = schema.to_mapping(competition)
    files: dict[str, Path | str] = {}
    if is_own(competition.metric):
        file, _, function = competition.metric.rpartition(":")
        raw["metric"] = f"{Path(file).name}:{function}"
        files[f"configs/competitions/{Path(file).name}"] = Path(file)
    files[f"configs/competitions/{competition.name}.yaml"] = schema.dump_yaml(raw)
    for run in runs:
        if run.asked.data.corrections is not None:
            files[_corrections(run.asked)] = expanded(run.asked.data.corrections)
    return files


def tables_for(runs: Sequence[Run]) -> dict[str, str]:
    """What these runs have here that is never made twice: index, folds, the experiment as settled. Path within the
    workspace -> text; empty where the first session makes them."""
    workspace, tables = runs[0].workspace, dict[str, str]()
    index = workspace.index(runs[0].competition.name)
    if not index.is_file():
        return tables
    made = [index, index.with_name(".index.json")]
    for run in runs:
        folds = run.competition_folds
        made += [folds, folds.with_name(f".{folds.stem}.json")]
        if run.exists:
            made += [run.files.folds, run.files.environment]
            frozen = run.files.experiment.relative_to(workspace.root).as_posix()
            tables[frozen] = schema.dump_yaml(localised(run.experiment))
    there = {path.relative_to(workspace.root).as_posix(): path for path in made if path.is_file()}
    return tables | {name: path.read_text("utf-8") for name, path in there.items()}


def refuse_what_stays_here(runs: Sequence[Run]) -> None:
    """Raise `ConfigError` for what does not travel, before it costs quota."""
    names: set[str] = set()
    for run in runs:
        asked = run.asked
        if asked.data.extra is not None:
            raise ConfigError(f"data.extra: {asked.data.extra} does not travel to Kaggle; train this run here")
        for key, other in (("model.start", asked.model.start), ("train.pseudo_run", asked.train.pseudo_run)):
            if other is not None and other not in names:
                advice = f"it is trained there where one config has both as members, {other} first"
                raise ConfigError(f"{key}: the models of {other} do not travel to Kaggle; {advice}")
        names.add(run.name)


def _corrections(experiment: Experiment) -> str:
    return f"corrections/{experiment.name}.csv"
