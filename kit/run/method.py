"""How the folds of a run are fitted: a network each, or heads on a frozen one."""

from typing import Any, Protocol

from kit.events import Line
from kit.run.heads import FrozenHeads
from kit.run.network import Networks
from kit.run.predicting import has_frozen_network
from kit.run.run import Run, RunFold


class Method(Protocol):
    """What `kit train` asks of either."""

    def check(self) -> None:
        """Raise what is wrong with the experiment before anything is made."""

    def settle(self) -> dict[str, Any]:
        """Settle what the experiment leaves open, when its run is made; returns facts for the run's environment."""

    def go_on(self) -> None:
        """Say how a run that was made is continued."""

    def announce(self, folds: list[RunFold], force: bool) -> None:
        """Say how long it will take."""

    def parts(self, folds: list[RunFold]) -> list[list[RunFold]]:
        """What can be fitted by processes of their own."""

    def fit(self, folds: list[RunFold], force: bool, deadline: float | None) -> None:
        """Fit the folds that are not fitted yet, or all with `force`."""

    def line(self, fold: RunFold) -> Line:
        """What is known of the weights that were kept."""


def method_of(run: Run) -> Method:
    return FrozenHeads(run) if has_frozen_network(run) else Networks(run)
