"""The one place that knows Optuna: a search's trials in an SQLite file, which values come next, which to stop.

What a trial is given depends on its number and on the trials that ended before it: a search that was killed goes on as
if it had not been."""

import math
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kit.errors import ConfigError
from kit.events import Epoch, Listener, StopTraining
from kit.randomness import key
from kit.search.space import Choice, Range, Space, Value

try:
    import optuna
    from optuna.samplers import TPESampler
    from optuna.trial import FrozenTrial, Trial, TrialState
except ModuleNotFoundError as missing:
    raise ConfigError(f"kit search: Optuna is not installed ({missing.name}); pip install -e '.[search]'") from None

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
RANDOM = 8  # trials before it learns from them
JUDGED_AFTER = 4  # trials that a hopeless one is told by
WAIT = 60  # seconds for another process that writes
State = Literal["running", "done", "pruned", "failed"]


@dataclass(frozen=True)
class Tried:
    """`value`: the competition's metric, `None` where it has none; `loss`: decides between equal values. `why`: it
    failed."""

    number: int
    state: State
    values: dict[str, Value]
    value: float | None
    loss: float | None = None
    epochs: int = 0
    why: str = ""


class Study:
    """`higher`: is a higher value the better one? `seed`: the experiment's."""

    def __init__(self, file: Path, space: Space, higher: bool, seed: int) -> None:
        self.space, self.higher, self._seed = space, higher, seed
        self._asking = threading.Lock()  # jobs are begun by several threads
        file.parent.mkdir(parents=True, exist_ok=True)
        url = f"sqlite:///{file.resolve().as_posix()}"
        self._study = optuna.create_study(
            storage=optuna.storages.RDBStorage(url, engine_kwargs={"connect_args": {"timeout": WAIT}}),
            pruner=optuna.pruners.MedianPruner(JUDGED_AFTER, n_warmup_steps=2, n_min_trials=JUDGED_AFTER),
            direction="maximize" if higher else "minimize", study_name="search", load_if_exists=True,
        )  # fmt: skip

    def begin(self, own: Mapping[str, Value]) -> None:
        """The first trial is the experiment as it is; `own`: its values of the space's keys."""
        if not self._study.get_trials(deepcopy=False):
            self._study.enqueue_trial({name: _stored(one, own[name]) for name, one in self.space.items()})

    def ask(self) -> int:
        """The number of a new trial."""
        with self._asking:
            self._study.sampler = self._sampler(len(self._study.get_trials(deepcopy=False)))
            trial = self._study.ask()
            self._suggest(trial)
        return int(trial.number)

    def values(self, number: int) -> dict[str, Value]:
        """What a trial tries; a number with three digits that count."""
        self._study.sampler = self._sampler(number)
        return self._suggest(Trial(self._study, self._frozen(number)._trial_id))

    def listener(self, number: int, metric: str, titles: Sequence[str]) -> Listener:
        """Keeps the metric after each epoch of the trial's folds, and raises `StopTraining` where most trials were
        better by then."""

        def tell(epoch: Epoch) -> None:
            line = epoch.history[-1]
            step = titles.index(epoch.title) * epoch.num_epochs + line["epoch"]
            trial = Trial(self._study, self._frozen(number)._trial_id)
            if step not in self._frozen(number).intermediate_values:
                trial.report(line[f"valid_{metric}"], step)
            if line["epoch"] < epoch.num_epochs and trial.should_prune():
                raise StopTraining

        return tell

    def end(self, number: int, value: float, loss: float | None) -> None:
        if not math.isfinite(value):
            self.give_up(number, f"its score is {value}")
            return
        self._note(number, "loss", loss)
        self._study.tell(number, value, skip_if_finished=True)

    def give_up(self, number: int, why: str = "") -> None:
        """It was stopped early; or, with the reason, failed: the worst of all, for whoever chooses the next values."""
        self._note(number, "why", why)
        self._study.tell(number, state=TrialState.PRUNED, skip_if_finished=True)

    def tried(self) -> list[Tried]:
        """All trials so far, in order."""
        begun = [one for one in self._study.get_trials(deepcopy=False) if one.state != TrialState.WAITING]
        return [self._tried(one) for one in begun]

    def importance(self) -> dict[str, float]:
        """Each key's share of the variance between the trials (fANOVA); empty where there are too few of them."""
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
        try:
            return dict(optuna.importance.get_param_importances(self._study, evaluator=evaluator))
        except (ValueError, RuntimeError):
            return {}

    def _frozen(self, number: int) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _sampler(self, number: int) -> TPESampler:
        return TPESampler(seed=key("search", self._seed, number) % 2**32, n_startup_trials=RANDOM, constant_liar=True)

    def _suggest(self, trial: Trial) -> dict[str, Value]:
        """All of a trial's values: those that it has, and, where a process was killed in between, new ones."""
        return {name: _plain(one, _suggested(trial, name, one)) for name, one in self.space.items()}

    def _tried(self, trial: FrozenTrial) -> Tried:
        why, seen = str(trial.user_attrs.get("why", "")), trial.intermediate_values
        states: dict[TrialState, State] = {TrialState.COMPLETE: "done", TrialState.FAIL: "failed"}
        states[TrialState.PRUNED] = "failed" if why else "pruned"
        state = states.get(trial.state, "running")
        value = trial.value if state == "done" else seen[max(seen)] if seen else None
        values = {name: _plain(one, trial.params[name]) for name, one in self.space.items() if name in trial.params}
        return Tried(trial.number, state, values, value, trial.user_attrs.get("loss"), len(seen), why)

    def _note(self, number: int, name: str, value: Any) -> None:
        Trial(self._study, self._frozen(number)._trial_id).set_user_attr(name, value)


def ranked(tried: Sequence[Tried], higher: bool) -> list[Tried]:
    """Those that are done, the best first; of equal values the one of the lower loss, then the earlier one."""
    done = [one for one in tried if one.state == "done"]
    sign = -1 if higher else 1
    return sorted(done, key=lambda one: (sign * (one.value or 0.0), one.loss or 0.0, one.number))


def _suggested(trial: Trial, name: str, one: Range | Choice) -> Any:
    if isinstance(one, Choice):
        return trial.suggest_categorical(name, list(range(len(one.values))))  # Optuna keeps plain values only
    if one.is_whole:
        return trial.suggest_int(name, int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
    return trial.suggest_float(name, one.low, one.high, log=one.log, step=one.step)


def _stored(one: Range | Choice, value: Value) -> Any:
    """A value as Optuna keeps it; one that the space does not hold as its first."""
    inside = value if one.holds(value) else one.ends()[0]
    return one.values.index(inside) if isinstance(one, Choice) else inside


def _plain(one: Range | Choice, stored: Any) -> Value:
    if isinstance(one, Choice):
        return one.values[stored]
    return int(stored) if one.is_whole else float(f"{stored:.3g}")
