"""How the folds of a run are fitted: a network each, or heads on a frozen one."""

from typing import Any, Protocol

from kit.events import Line
from kit.run.predicting import has_frozen_network
from kit.run.run import Run, RunFold


class Method(Protocol):
    """What `kit train` asks of either. `check` raises what is wrong with the experiment before anything is made.
    `settle` decides what it leaves open, when the run is made, and returns facts for the run's environment. `announce`
    says how a run that `existed` goes on, and how long it will take. `parts`: what can be fitted in separate processes.
    `fit` does the folds that are not done, or all with `force`. `line`: what is known of the kept weights."""

    def check(self) -> None: ...
    def settle(self) -> dict[str, Any]: ...
    def announce(self, folds: list[RunFold], force: bool, existed: bool) -> None: ...
    def parts(self, folds: list[RunFold]) -> list[list[RunFold]]: ...
    def fit(self, folds: list[RunFold], force: bool, deadline: float | None) -> None: ...
    def line(self, fold: RunFold) -> Line: ...


def method_of(run: Run) -> Method:
    if has_frozen_network(run):
        from kit.run.heads import FrozenHeads

        return FrozenHeads(run)
    from kit.run.network import Networks

    return Networks(run)
