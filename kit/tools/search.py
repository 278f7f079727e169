"""search: an experiment with other settings, trial after trial on a few folds; the best ones become a config."""

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kit import console, schema
from kit.errors import ConfigError, counted
from kit.figures.searches import search_history, search_slices
from kit.locks import lock
from kit.pipeline import are_files_here, prepare
from kit.run.run import Run
from kit.runners import choose_runner
from kit.runners.kaggle import Sessions
from kit.search.space import shown
from kit.search.study import Tried, ranked
from kit.tools.trials import Trials
from kit.workspace import Fold, write_text

BATCH = 8  # trials in one session on Kaggle
SHOWN = 5  # trials in the table


@dataclass(frozen=True)
class SearchResult:
    """`own` and `value`: the metric of the experiment as it was, and of the best trial, on `folds`."""

    best: Path | None
    metric: str
    folds: list[Fold]
    own: float | None
    value: float | None
    trials: list[Tried]
    finished: bool


def search(
    run: Run, source: Path | None = None, space: Path | None = None, folds: Sequence[Fold] = (0,), num_trials: int = 20,
    max_hours: float | None = None, on: str | None = None,
) -> SearchResult:  # fmt: skip
    """Try other settings: `num_trials` in all, of which those done before are not done again. `space`: a YAML of what
    may change, default: what most often pays off. `on`: as for `train`; on Kaggle several trials share a session."""
    deadline = None if max_hours is None else time.monotonic() + max_hours * 3600
    if run.asked.members:
        raise ConfigError(f"members: {run.name} is a blend; search one of its members")
    if "full" in folds:
        raise ConfigError("--fold full: has no images to score a trial by; name folds such as 0 or 0..1")
    gpus = run.asked.machine.gpus_per_fold or 1
    runner = choose_runner(on, num_trials, gpus) if on != "kaggle" else None
    if on != "kaggle" or source is not None or are_files_here(run):
        prepare([run], source)
    trials = Trials.begin(run, space, folds)
    with lock(trials.files.lock, str(trials.files.folder)):
        left = trials.left(num_trials)
        if runner is not None:
            runner.run([trials.job(number, deadline) for number in left])
        while runner is None and left and (deadline is None or time.monotonic() < deadline):
            numbers = [trials.study.ask() if number is None else number for number in left[:BATCH]]
            Sessions([trials.run_there(number) for number in numbers], folds, f"{run.name}-search", max_hours).finish()
            for number in numbers:
                trials.fetch(number)
            left = trials.left(num_trials)
    if left := trials.left(num_trials):
        console.warn(f"--hours has run out: {counted(len(left), 'trial')} left. Type the same command to go on")
    return _result(trials, finished=not left)


def one_trial(run: Run, number: int, max_hours: float | None = None) -> None:
    """A trial of a search that another process began."""
    Trials.reopen(run).do(number, None if max_hours is None else time.monotonic() + max_hours * 3600)


def _result(trials: Trials, finished: bool) -> SearchResult:
    tried, best, name = trials.study.tried(), trials.best(), trials.metric.name
    own = next((one.value for one in tried if one.number == 0 and one.state == "done"), None)
    if best is None:
        return SearchResult(None, name, trials.folds, own, None, tried, finished)
    _show(trials, tried)
    history, slices = trials.files.figure("history"), trials.files.figure("slices")
    done = {one.number: one.value for one in tried if one.state == "done" and one.value is not None}
    title = f"{trials.run.name}: {name} of fold {', '.join(map(str, trials.folds))}"
    search_history(done, trials.metric.higher_is_better, trials.study.importance(), title, history)
    values = {key: [one.values[key] for one in tried if one.number in done] for key in trials.space}
    logs = {key for key, one in trials.space.items() if getattr(one, "log", False)}
    search_slices(values, list(done.values()), logs, title, slices)
    _write_best(trials, best, own)
    console.stage("search", f"figures: {history}, {slices}")
    console.say(f"\nNext: kit run -c {trials.files.best}")
    return SearchResult(trials.files.best, name, trials.folds, own, best.value, tried, finished)


def _show(trials: Trials, tried: list[Tried]) -> None:
    done = ranked(tried, trials.metric.higher_is_better)
    rows = [[one.number, f"{one.value:.4f}", shown(one.values)] for one in done[:SHOWN]]
    counts = ", ".join(f"{number} {state}" for state, number in Counter(one.state for one in tried).items())
    title = f"{len(tried)} trials: {counts}; the best {min(SHOWN, len(done))}"
    console.table(title, ["trial", trials.metric.name, "values"], rows)


def _write_best(trials: Trials, best: Tried, own: float | None) -> None:
    """The best trial's experiment, whole, under a name of its own, with the folds that chose it."""
    folds, name = trials.folds, trials.run.name
    experiment = trials.run_of(best.number).asked
    chosen = replace(experiment.named(f"{name}-best"), searched_folds=tuple(int(fold) for fold in folds))
    of = f"{trials.metric.name} {best.value:.4f} on fold {', '.join(map(str, folds))}, which chose it"
    before = f"; {own:.4f} before" if own is not None and best.number else ""
    lines = [f"kit run -c {trials.files.best}", f"Trial {best.number} of a search from {name}: {of}{before}."]
    head = "".join(f"# {line}\n" for line in lines)
    write_text(trials.files.best, head + schema.dump_yaml(schema.to_mapping(chosen)))
    as_it_was = " (the experiment as it was: nothing better was found)" if best.number == 0 else ""
    console.stage("search", f"{trials.files.best}: trial {best.number}, {of}{before}{as_it_was}")
