"""What the training loop tells its listeners."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Line = dict[str, Any]
"""epoch, seconds, images_per_second, learning_rate, train_loss, valid_loss, valid_<metric>; where the test
labels are public, `full` has test_loss and test_<metric>"""


@dataclass(frozen=True)
class Epoch:
    """An epoch is done and saved. `history`: a line for every epoch so far, this one last. `again`: it was reported
    before, and is reported once more as a killed training resumes."""

    title: str  # "fold 0"
    num_epochs: int  # planned
    metric: str
    history: list[Line]
    again: bool = False


Listener = Callable[[Epoch], None]


class StopTraining(Exception):
    """A listener raises it: the training ends here, and what was done stays in its checkpoint."""
