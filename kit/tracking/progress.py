"""A line on the screen for each epoch."""

from pathlib import Path

from kit import console
from kit.events import Epoch, Listener


def listener(_path: Path) -> Listener:
    """`fold 0  epoch  3/8  train loss 0.5312  valid loss 0.5038  accuracy 0.7533  215 images/s  1 min 24 s`"""

    def show(epoch: Epoch) -> None:
        if epoch.again:
            return
        line, metric = epoch.history[-1], epoch.metric
        text = f"{epoch.title}  epoch {line['epoch']:>2}/{epoch.num_epochs}  train loss {line['train_loss']:.4f}"
        for kind in ("valid", "test"):
            if line.get(f"{kind}_loss") is not None:
                text += f"  {kind} loss {line[f'{kind}_loss']:.4f}  {metric} {line[f'{kind}_{metric}']:.4f}"
        speed = f"{console.speed(line['images_per_second'])}  {console.duration(line['seconds'])}"
        console.stage("train", f"{text}  {speed}")

    return show
