"""Code competitions, against the loopback Kaggle, which runs the notebook again on a hidden test set."""

import json
import shutil
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pandas as pd
import pytest
from kaggle_cloud import Cloud, serve_cloud

from kit.config import Experiment
from kit.errors import ConfigError, KitError
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.runners.kaggle import rehearsal, submitting, wheels
from kit.runners.kaggle.rehearsal import Sandbox
from kit.stages import submit
from kit.tools import rehearse

SLUG = "tiny-digits"
COPIES = 20
TAG = f"cp{sys.version_info[0]}{sys.version_info[1]}"
QUICK = "open('submission.csv', 'w').write('id,label\\n1,0\\n')"  # in place of the notebook


@pytest.fixture(scope="module")
def hidden(tmp_path_factory, digits) -> Path:
    """The public test pictures twenty times under other ids, and ten that are damaged."""
    folder = tmp_path_factory.mktemp("hidden")
    for path in digits.iterdir():
        shutil.copy(path, folder)
    with zipfile.ZipFile(digits / "test1.zip") as archive:
        pictures = [archive.read(name) for name in sorted(archive.namelist(), key=_number)]
    ids = []
    with zipfile.ZipFile(folder / "test1.zip", "w") as packed:
        for copy in range(COPIES):
            for number, data in enumerate(pictures, 1):
                ids.append(1000 * (copy + 1) + number)
                packed.writestr(f"test1/{ids[-1]}.png", data)
        for number in range(10):
            ids.append(900_000 + number)
            packed.writestr(f"test1/{ids[-1]}.png", pictures[number][:40])
    pd.DataFrame({"id": ids, "label": 0}).to_csv(folder / "sampleSubmission.csv", index=False)
    return folder


def _number(name: str) -> int:
    return int(Path(name).stem)


@pytest.fixture
def cloud(tmp_path, digits, hidden, point_sdk_at, monkeypatch):
    state = Cloud(folder=tmp_path / "cloud", competitions={SLUG: digits}, hidden={SLUG: hidden}, notebooks_only=True)
    server = serve_cloud(state)
    point_sdk_at(state.url)
    monkeypatch.setattr(submitting, "POLL", 0.2)
    yield state
    state.stop()
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _no_download(monkeypatch):
    monkeypatch.setattr(wheels, "PYTHONS", ())


@pytest.fixture(scope="module")
def done(tmp_path_factory, digits, tiny) -> tuple[Experiment, Path]:
    """A run here, of a competition that is on Kaggle, and its workspace."""
    place = tmp_path_factory.mktemp("done")
    text = Path("configs/competitions/digits.yaml").read_text().replace("name: digits", f"name: {SLUG}\nslug: {SLUG}")
    (place / f"{SLUG}.yaml").write_text(text)
    experiment = tiny(f"competition={place / SLUG}.yaml", "train.epochs=6", "train.learning_rate=0.01")
    run_pipeline(experiment, place / "workspace", digits)
    return experiment, place / "workspace"


@pytest.fixture
def run(done, tmp_path) -> Run:
    shutil.copytree(done[1], tmp_path / "workspace")
    return Run.open(done[0], tmp_path / "workspace")


def test_from_a_run_to_a_score_on_the_hidden_pictures(cloud, run, capsys):
    result = submit.submit(run, wait_minutes=2)
    assert (result.status, result.public_score) == ("COMPLETE", "0.91234")
    handed = pd.read_csv(cloud.reruns[0].working / "submission.csv").set_index("id")["label"]
    ours = pd.read_csv(run.workspace.submission("tiny")).set_index("id")["label"]
    assert len(handed) == 50 * COPIES + 10
    for copy in range(COPIES):
        of_copy = handed.loc[[1000 * (copy + 1) + number for number in range(1, 51)]]
        assert of_copy.tolist() == ours.loc[range(1, 51)].tolist()
    assert handed.loc[range(900_000, 900_010)].nunique() == 1, "the prior, for what cannot be read"
    log = cloud.reruns[0].log.read_text()
    assert "10 pictures cannot be read and get the prior" in log
    (entry,) = json.loads(run.workspace.submission("tiny").with_suffix(".json").read_text())["kaggle"]
    assert (entry["status"], entry["public_score"]) == ("COMPLETE", "0.91234")
    (pushed,) = cloud.pushes
    assert pushed["enableInternet"] is False
    assert pushed["competitionDataSources"] == [SLUG]
    said = capsys.readouterr()
    assert "the clock (9 h) allows about" in said.out
    assert "it lies outside what was to be expected" in said.out + said.err
    with pytest.raises(KitError, match="submitted before"):
        submit.submit(run)
    assert submit.submit(run, again=True, wait_minutes=2).uploaded
    assert len(cloud.pushes) == 1, "the notebook has run: its version is handed in again"
    assert cloud.calls.count("CreateDataset") == 1
    cells = json.loads(pushed["text"])["cells"]
    assert max(len(cell["source"]) for cell in cells if cell["source"][:6] != "import") < 500


def test_a_clock_that_does_not_allow_everything(cloud, run, done):
    """One view and fewer folds, for every picture alike."""
    text = run.workspace.root.parent / f"{SLUG}.yaml"
    text.write_text(Path(done[0].competition).read_text() + "hidden_test: {hours: 0.0001}\n")
    short = Experiment.load(run.files.experiment, [f"competition={text}"])
    frozen = run.files.experiment
    frozen.write_text(frozen.read_text().replace(str(done[0].competition), str(text)))
    submit.submit(Run.open(short.named("tiny"), run.workspace), wait_minutes=2)
    assert "the clock allows 1 fold of 2 and one view of 1, for every picture alike" in cloud.reruns[0].log.read_text()
    assert len(pd.read_csv(cloud.reruns[0].working / "submission.csv")) == 50 * COPIES + 10


def test_a_rehearsal_of_the_notebook_answers_as_oof_does(run, digits, capsys):
    """Without Kaggle, a token, or the network."""
    done = rehearse.rehearse(run, [0, 1], digits)
    assert done.what == "notebook"
    assert done.agreement == 1.0
    said = capsys.readouterr().out
    assert "100 pictures of fold 0 in place of the test set: 100.0% of the answers are those of OOF (accuracy" in said


def test_a_rehearsal_of_a_session(done, digits, tmp_path, capsys):
    run = Run.open(done[0], tmp_path / "elsewhere")
    assert rehearse.rehearse(run, [1], digits).what == "session"
    assert "{'tiny': {'1': 'predicted'}}" in capsys.readouterr().out
    assert not run.exists, "nothing of it is taken for the run itself"


def test_the_decoder_travels_to_a_notebook_without_internet(run, digits, monkeypatch, capsys, tmp_path):
    """Its wheel comes from PyPI, once, here from a folder; none is asked for where no picture is a JPEG."""
    found = pytest.importorskip("simplejpeg")
    packed = tmp_path / "index" / f"simplejpeg-{metadata.version('simplejpeg')}-{TAG}-{TAG}-manylinux2014_x86_64.whl"
    packed.parent.mkdir()
    with zipfile.ZipFile(packed, "w") as archive:
        for file in metadata.files("simplejpeg") or []:
            archive.write(file.locate(), str(file))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(packed.parent))
    monkeypatch.setattr(wheels, "PYTHONS", (f"{sys.version_info[0]}.{sys.version_info[1]}", "3.99"))
    rehearse.rehearse(run, [0, 1], digits)
    kept = run.workspace.root / "kaggle"
    assert [path.name for path in (kept / "wheels").iterdir()] == [packed.name]
    there = list(kept.glob("rehearsal-*/tmp/kit-*/wheels/simplejpeg/__init__.py"))
    assert len(there) == 2, "in the public run and in the hidden one"
    assert there[0].read_bytes() == Path(found.__file__).read_bytes()
    assert "simplejpeg for Python 3.99 does not come" in capsys.readouterr().out
    index = run.workspace.index(SLUG)
    index.write_text(index.read_text().replace(",JPEG,", ",PNG,"))
    run.refresh()
    assert not wheels.wheels_for([run], tmp_path / "none")


def test_a_rehearsal_needs_a_python_and_the_files(run, tmp_path):
    with pytest.raises(ConfigError, match=r"--python python9\.9: no such program"):
        rehearse.rehearse(run, [0, 1], python="python9.9")
    (tmp_path / "empty").mkdir()
    with pytest.raises(KitError, match=r"empty.*train\.zip"):
        rehearse.rehearse(run, [0, 1], tmp_path / "empty")


@pytest.mark.parametrize("namespaces", [True, False])
def test_a_rehearsal_has_kaggles_limits(tmp_path, monkeypatch, capsys, namespaces):
    if namespaces and not rehearsal.may_unshare():
        pytest.skip("namespaces are not allowed here")
    monkeypatch.setattr(rehearsal, "may_unshare", lambda: namespaces)
    box = Sandbox(tmp_path / "box", minutes=0.02)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_text("a")
    box.mount("x", tmp_path / "data")
    message = "failed as it would on Kaggle" if namespaces else "is read-only on Kaggle, and .*b.txt was written there"
    with pytest.raises(KitError, match=message):
        box.run('open(str("/kaggle") + "/input/competitions/x/b.txt", "w").write("b")')
    assert (tmp_path / "data" / "b.txt").exists() != namespaces
    assert ("Read-only file system" in capsys.readouterr().out) == namespaces
    done = box.run('open("here", "w").write(open(str("/kaggle") + "/input/competitions/x/a.txt").read())')
    assert (done.working / "here").read_text() == "a"
    with pytest.raises(KitError, match=r"failed as it would on Kaggle \(exit 1\)"):
        box.run("import urllib.request; urllib.request.urlopen('http://example.com', timeout=2)")
    with pytest.raises(KitError, match=r"the rehearsal took over 1\.2 s; --minutes gives it more"):
        box.run("import time; time.sleep(60)")  # and says nothing


@pytest.mark.parametrize(
    "fate",
    [
        "Notebook Threw Exception", "Notebook Timeout", "Notebook Exceeded Allowed Compute", "Submission CSV Not Found",
        "Submission Scoring Error",
    ],
)  # fmt: skip
def test_complete_without_a_score_is_a_failure(cloud, run, fate):
    cloud.rerun_fate, cloud.program = fate, QUICK
    with pytest.raises(KitError, match=f"could not score reference 4711: {fate}"):
        submit.submit(run, wait_minutes=2)


REFUSALS = (
    "This competition only accepts Submissions from Notebooks.",
    "Your Notebook cannot use internet access in this competition.",
    "Your Notebook must include this competition as a data source.",
    "Your Notebook cannot use P100 GPUs in this competition.",
    'Submission files must be named "submission.csv"',
    "cannot find submission.csv",
    "You have used your 5 submissions of today.",
)


@pytest.mark.parametrize("old_shape", [False, True])
def test_what_kaggle_refuses_is_one_line_and_may_be_tried_again(cloud, run, old_shape):
    cloud.program, cloud.old_shape = QUICK, old_shape
    for reason in REFUSALS:
        cloud.refusal = reason
        with pytest.raises(KitError, match=rf"refuses the request \(400\) .*{reason}") as raised:
            submit.submit(run, wait_minutes=2)
        assert "\n" not in str(raised.value)
    cloud.refusal = ""
    assert submit.submit(run, wait_minutes=2).status == "COMPLETE"
    assert [len(versions) for versions in cloud.kernels.values()] == [1], "the notebook is not run anew"


def test_a_notebook_waits_while_two_sessions_run(cloud, run, capsys):
    cloud.program = "import time; time.sleep(5)"
    for slug in ("one", "two"):
        cloud.start({"slug": f"me/{slug}"})
    cloud.program = QUICK
    assert submit.submit(run, wait_minutes=2).status == "COMPLETE"
    assert capsys.readouterr().out.count("session count of 2 reached. Waiting for one of them to end") == 1


def test_no_submission_is_left_today(cloud, run):
    cloud.left = 0
    with pytest.raises(KitError, match="no submissions are left today: Kaggle's day begins at 00:00 UTC"):
        submit.submit(run, wait_minutes=2)
    assert not cloud.pushes, "not even a notebook's run is spent"


def test_a_notebook_that_breaks_is_not_handed_in(cloud, run):
    cloud.program = "raise RuntimeError('no luck')"
    with pytest.raises(KitError, match="error on Kaggle: its log is above; nothing was submitted"):
        submit.submit(run, wait_minutes=2)
    cloud.program = "print('no file')"
    with pytest.raises(KitError, match=r"left no submission\.csv; nothing was submitted"):
        submit.submit(run, wait_minutes=2)
    assert "CreateCodeSubmission" not in cloud.calls
    assert [len(versions) for versions in cloud.kernels.values()] == [2]
