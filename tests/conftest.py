"""What the tests share: a small competition of real images (digits), real photos where $KIT_DATA has them."""

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from kaggle_server import Kaggle, serve

from kit.config import Experiment
from kit.kaggle.client import KaggleClient
from kit.kaggle.transfer import Transfer
from kit.tools.demo import write_archives
from kit.workspace import Workspace

TINY = (
    "name=tiny", "data.image_size=16", "data.cache_size=16", "data.num_folds=2", "model.options.width=0.125",
    "train.epochs=2", "train.warmup_epochs=0.5", "machine.precision=fp32", "machine.memory_format=contiguous",
    "machine.num_threads=1", "tta.views=[identity]", "machine.predict_precision=fp32",
    "machine.predict_memory_format=contiguous", "machine.predict_compile=false",
)  # fmt: skip
TOKEN = "kgat_SECRETTOKEN"
SLUG = "tiny-digits"  # of a competition on the loopback Kaggle that runs what is pushed


def pytest_configure(config: pytest.Config) -> None:
    """A core for each of xdist's processes: two that use both cores are slower than one."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None and hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})
        torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first, so that xdist's processes end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train.zip, test1.zip, sampleSubmission.csv and solution.csv of the first 250 digits."""
    return write_archives(tmp_path_factory.mktemp("digits"), limit=250)


@pytest.fixture(autouse=True, scope="session")
def small_sheets() -> Iterator[None]:
    """`kit explore`'s contact sheets of a few pictures: forty for each class take half of a small run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kit.stages.explore.PER_SHEET", 4)
        yield


@pytest.fixture(scope="session")
def tiny() -> Callable[..., Experiment]:
    """The demo's experiment made small: two folds, two epochs, seconds; keywords are more `key=value`."""
    return lambda *overrides: Experiment.load("configs/demo.yaml", [*TINY, *overrides])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "workspace")


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of real photos that $KIT_DATA names."""
    folder = os.environ.get("KIT_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("real photos: set KIT_DATA to the folder that holds dogs-vs-cats-photos and bad-images")
    return Path(folder)


@pytest.fixture
def point_sdk_at(monkeypatch, tmp_path):
    """The SDK pointed at a server, with a token in force and no file of the user's in reach."""
    from kagglesdk import kaggle_env

    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home" / ".config"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("KAGGLE_API_TOKEN", TOKEN)
    for module in ("client", "datasets"):
        monkeypatch.setattr(f"kit.kaggle.{module}.POLL", 0.05)
    return lambda url: monkeypatch.setitem(kaggle_env._env_to_endpoint, kaggle_env.KaggleEnv.PROD, url)


@pytest.fixture
def kaggle(point_sdk_at):
    """The loopback server."""
    state = Kaggle(bundle=make_bundle())
    server = serve(state)
    point_sdk_at(state.url)
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def connect():
    """A client that loses patience quickly."""
    transfer = Transfer(connect_seconds=2, silence_seconds=0.4, backoff_seconds=0.01, longest_wait_seconds=0.2)
    return lambda: KaggleClient.connect(transfer)


@pytest.fixture
def cloud(tmp_path, digits, point_sdk_at, monkeypatch):
    """Kaggle, with the digits as a competition, and the kit in a hurry."""
    from kaggle_cloud import Cloud, serve_cloud

    from kit.runners import kaggle as on_kaggle
    from kit.runners.kaggle import fetching

    state = Cloud(folder=tmp_path / "cloud", competitions={SLUG: digits})
    server = serve_cloud(state)
    point_sdk_at(state.url)
    monkeypatch.setattr(on_kaggle, "POLL", 0.2)
    monkeypatch.setattr(fetching, "LATE", 3.0)
    asked = Transfer.wait_seconds
    monkeypatch.setattr(Transfer, "wait_seconds", lambda self, *given: asked(self, *given) / 50)
    yield state
    state.stop()
    server.shutdown()
    server.server_close()


@pytest.fixture
def there(tmp_path, tiny) -> Experiment:
    """The tiny experiment, for a competition that is on Kaggle."""
    text = Path("configs/competitions/digits.yaml").read_text().replace("name: digits", f"name: {SLUG}\nslug: {SLUG}")
    file = tmp_path / "competitions" / f"{SLUG}.yaml"
    file.parent.mkdir()
    file.write_text(text)
    return tiny(f"competition={file}")


def make_bundle() -> bytes:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        for number in range(300):
            archive.writestr(f"train/cat.{number}.jpg", bytes([number % 251]) * 1000)
    outer = io.BytesIO()
    with zipfile.ZipFile(outer, "w") as archive:
        archive.writestr("train.zip", inner.getvalue())
    return outer.getvalue()
