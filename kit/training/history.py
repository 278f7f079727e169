"""What a fold's history tells: the best epoch, the one that is kept, whether it is time to stop."""

from kit.events import Line
from kit.settings import Train


def is_best(history: list[Line]) -> bool:
    loss = history[-1]["valid_loss"]
    return loss is not None and loss == min(line["valid_loss"] for line in history)


def history_of_kept(history: list[Line], train: Train) -> Line:
    """The line of the weights that were kept; an average of epochs has no line of its own and gets the last one's.
    Without epochs the start's weights were kept, and the line is empty."""
    if not history:
        return {}
    if train.select != "best" or history[-1]["valid_loss"] is None:
        return history[-1]
    return min(history, key=lambda line: line["valid_loss"])


def stopped_early(history: list[Line], train: Train) -> bool:
    """Did the validation loss not fall for `train.early_stopping` epochs?"""
    if train.early_stopping is None or len(history) <= train.early_stopping:
        return False
    losses = [line["valid_loss"] for line in history]
    return None not in losses and losses.index(min(losses)) < len(losses) - train.early_stopping
