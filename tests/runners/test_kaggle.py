"""Training on Kaggle's GPUs, against the loopback Kaggle, which really runs what is pushed."""

import base64
import io
import json
import tarfile
import zipfile
from dataclasses import replace

import pytest
import requests
from kaggle_cloud import OWNER
from kaggle_server import status

from kit import schema
from kit.config import Experiment
from kit.errors import ConfigError, KitError
from kit.kaggle.datasets import Datasets
from kit.kaggle.kernels import Kernels, RefusedError
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.runners.kaggle import Sessions, cargo
from kit.stages import download, index, split
from kit.tools import kaggle as verbs

SLUG = "tiny-digits"
# Leaves what a session of one fold leaves, without training anything.
DONE = """
import hashlib, json, os
folder = "runs/tiny/fold_0"
os.makedirs(folder)
files = {f"{folder}/model.safetensors": "weights", f"{folder}/oof.csv": "oof", "data/tiny-digits/index.csv": "index"}
for name, text in files.items():
    os.makedirs(os.path.dirname(name), exist_ok=True)
    open(name, "w").write(text)
sums = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in files.items()}
hidden = {f"{folder}/.train.json": "{}", f"{folder}/.predict.json": "{}"}
made = {"slug": "SLUG", "files": sums, "hidden": hidden, "before": {}, "after": {"tiny": {"0": "predicted"}}}
json.dump(made, open("kit-manifest.json", "w"))
print("all is well")
"""


def test_the_same_bytes_as_here(cloud, there, digits, tmp_path, capsys):
    """In four sessions, as one of two folds' two epochs fits into each."""
    result = run_pipeline(there, tmp_path / "remote", on="kaggle", max_hours=0.9)
    assert len(cloud.pushes) == 4
    ours = run_pipeline(there, tmp_path / "here", digits)
    for name in ("fold_0/oof.csv", "fold_1/oof.csv", "fold_0/test.csv", "oof.csv", "fold_1/model.safetensors"):
        remote, here = (tmp_path / place / "runs" / "tiny" / name for place in ("remote", "here"))
        assert remote.read_bytes() == here.read_bytes(), name
    assert result.submission.read_bytes() == ours.submission.read_bytes()
    assert result.cv == ours.cv
    pushes = len(cloud.pushes)
    run_pipeline(there, tmp_path / "remote", on="kaggle")
    assert len(cloud.pushes) == pushes, "all is here: nothing is started"
    assert not list((tmp_path / "remote").rglob("last.ckpt"))
    said = capsys.readouterr().out
    assert "kaggle | " in said
    assert "of 30 GPU hours used this week" in said
    assert cloud.pushes[1]["kernelDataSources"] == [f"me/{cloud.pushes[0]['slug'].partition('/')[2]}"]


@pytest.fixture
def quick(cloud, there, workspace):
    """A function that has fold 0 trained on Kaggle, which only says that it did."""
    cloud.program = DONE

    def run(**settings) -> Run:
        one = Run.open(there, workspace)
        Sessions([one], [0], "tiny", **settings).finish()
        return one

    return run


def test_kaggle_may_forbid_what_does_not_exist(cloud, quick):
    cloud.failures["GetKernel"] = [status(403, "Permission 'kernels.get' was denied")]
    assert quick().fold(0).is_trained
    assert len(cloud.pushes) == 1


def test_an_answer_that_never_came_is_looked_for_before_it_is_repeated(cloud, quick):
    cloud.failures["answer of SaveKernel"] = [status(502)]
    assert quick().fold(0).is_trained
    assert len(cloud.pushes) == 1


def test_a_push_that_was_not_taken_is_repeated(cloud, quick):
    cloud.failures["SaveKernel"] = [status(503)]
    assert quick().fold(0).is_trained
    assert len(cloud.pushes) == 1


def test_a_push_that_is_never_answered_ends(cloud, quick):
    cloud.failures["SaveKernel"] = [status(503)] * 20
    with pytest.raises(KitError, match="no session has begun; try again in a few minutes"):
        quick()
    assert not cloud.pushes


def test_a_session_that_is_started_again_does_not_do_what_is_here(cloud, quick):
    run = quick()
    sessions = Sessions([run], [0, 1], "tiny")
    assert sessions.left == [1]
    place = cloud.folder / "cargo.tar.xz"
    place.write_bytes(base64.b64decode(sessions.kernel(1, 1.0).text.split('"""')[3]))
    with tarfile.open(place) as packed:
        assert json.load(packed.extractfile("task.json"))["folds"] == [1]


def test_a_third_session_waits_for_one_of_two_to_end(cloud, quick, capsys):
    cloud.program = "import time; time.sleep(4)"
    for slug in ("one", "two"):
        cloud.start({"slug": f"{OWNER}/{slug}"})
    cloud.program = DONE
    assert quick().fold(0).is_trained
    assert capsys.readouterr().out.count("Maximum batch GPU session count of 2 reached. Waiting") == 1


def test_a_quota_that_is_used_up_says_when_it_is_reset(cloud, quick):
    cloud.used = 30
    with pytest.raises(RefusedError, match=r"used up: 30\.0 of 30 GPU hours.*reset on Saturday, 28 November"):
        quick()
    assert not cloud.pushes


@pytest.mark.parametrize(
    "reason",
    [
        "Maximum weekly GPU quota of 30.00 hours reached.",
        "Session cannot start because currently running sessions are projected to exceed your weekly GPU quota.",
        "Kernel push failed: Your account must be phone verified to use internet.",
    ],
)
def test_a_refused_push_says_why_and_what_is_left(cloud, quick, reason):
    cloud.push_refusal = reason
    with pytest.raises(RefusedError, match=rf"does not start kit-\S+: {reason}.*3\.0 of 30 GPU hours") as raised:
        quick()
    assert "\n" not in str(raised.value)
    assert len(cloud.pushes) == 1


@pytest.mark.parametrize("kind", ["Kernel", "Model", "Dataset", "Competition"])
def test_a_source_of_any_kind_that_cannot_be_mounted(cloud, quick, kind):
    cloud.unmountable = {f"invalid{kind}Sources": ["me/mine"]}
    cloud.program = "import time; time.sleep(60)"
    word = {"Kernel": "notebook"}.get(kind, kind.lower())
    with pytest.raises(RefusedError, match=f"cannot mount {word} me/mine for kit-"):
        quick()
    assert not cloud.kernels


def test_what_cannot_be_mounted_is_said_and_does_not_run(cloud, quick):
    del cloud.competitions[SLUG]
    with pytest.raises(RefusedError, match=r"cannot mount competition tiny-digits.*accept the rules at .*tiny-digits"):
        quick()
    assert not cloud.kernels, "it would run without its pictures, on the quota"


def test_outputs_may_be_late_paged_and_statuses_unknown(cloud, quick):
    cloud.late, cloud.page, cloud.odd_status = 3, 1, ["WARMING_UP"]
    assert (quick().fold(0).files.folder / "oof.csv").read_text() == "oof"


@pytest.mark.parametrize("name", ["../../evil", "/etc/evil", "runs/../../evil", "elsewhere/evil", "runs\\..\\evil"])
def test_a_file_that_leads_outside_is_refused(cloud, quick, tmp_path, name):
    cloud.program = DONE.replace("json.dump(made", f"made['files'][{name!r}] = 'x'; json.dump(made")
    with pytest.raises(KitError, match="would leave the workspace; nothing was fetched"):
        quick()
    assert not list(tmp_path.rglob("evil"))


def test_wrong_bytes_are_not_kept(cloud, quick):
    cloud.program = DONE.replace('"index"}', '"index"}') + '\nopen("runs/tiny/fold_0/oof.csv", "w").write("other")'
    with pytest.raises(KitError, match="its bytes are not those of the session's manifest"):
        quick()


def test_files_that_never_come(cloud, quick):
    cloud.program = DONE + '\nos.remove("runs/tiny/fold_0/oof.csv")'
    with pytest.raises(KitError, match="does not show all its files; try again later"):
        quick()


def test_a_failed_session_says_why_and_the_next_command_starts_another(cloud, quick, capsys):
    cloud.program = "print('Traceback: no luck'); raise SystemExit(1)"
    with pytest.raises(KitError, match=r"failed on Kaggle: no reason given; its log is above; the same command starts"):
        quick()
    assert "kaggle | Traceback: no luck" in capsys.readouterr().out
    cloud.program = DONE
    assert quick().fold(0).is_trained
    assert [len(versions) for versions in cloud.kernels.values()] == [2]


def test_an_interrupted_command_says_that_the_session_goes_on(cloud, quick, monkeypatch, capsys):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Kernels, "look", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick()
    said = capsys.readouterr()
    assert "goes on there: `kit kaggle stop kit-tiny-" in said.out + said.err


def test_a_session_that_kaggle_cuts_is_lost_and_said(cloud, quick):
    cloud.program, cloud.limit = "import time; time.sleep(60)", 0.5
    with pytest.raises(KitError, match="tried to run longer than allowed"):
        quick()


def test_sessions_that_bring_nothing_end(cloud, quick):
    stamps = 'f"{folder}/.train.json": "{}", f"{folder}/.predict.json": "{}"'
    cloud.program = DONE.replace(stamps, "").replace('{"tiny": {"0": "predicted"}}', "{}")
    with pytest.raises(KitError, match="the session got no further"):
        quick()
    assert len(cloud.pushes) == 1
    cloud.program = DONE
    assert quick().fold(0).is_trained, "the same command starts another"
    assert [len(versions) for versions in cloud.kernels.values()] == [2]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # the log's thread is cut, too
def test_killed_at_any_call_it_pushes_once(cloud, quick, monkeypatch):
    """Cut off at the first, the second, ... call that goes out."""
    send, calls = requests.Session.send, []

    class Killed(BaseException):
        pass

    for last in range(1, 40):
        calls.clear()

        def cut(self, *args, last=last, **kwargs):
            calls.append(1)
            if len(calls) == last:
                raise Killed
            return send(self, *args, **kwargs)

        monkeypatch.setattr(requests.Session, "send", cut)
        try:
            run = quick()
            break
        except Killed:
            continue
    assert 5 < last < 39
    assert run.fold(0).is_trained
    assert len(cloud.pushes) == 1


def test_what_is_done_here_stays(cloud, quick):
    run = quick()
    model = run.fold(0).files.model
    model.write_text("trained again, here")
    Sessions([run], [0], "tiny").fetch()
    assert model.read_text() == "trained again, here"


def test_a_dry_run_writes_what_the_kaggle_command_takes(cloud, there, workspace):
    made = verbs.write(Run.open(there, workspace), [0, 1], None, workspace.root / "kaggle")
    meta = json.loads((made.folder / "kernel-metadata.json").read_text())
    assert meta["id"] == f"{OWNER}/{made.folder.name}"
    assert meta["title"].replace(" ", "-") == made.folder.name
    assert (meta["competition_sources"], meta["machine_shape"]) == ([SLUG], "NvidiaTeslaT4")
    assert meta["code_file"] == "script.py"
    text = (made.folder / "script.py").read_text()
    assert "session(KAGGLE, place)" in text
    assert len(text) < cargo.MOST_BYTES
    assert not cloud.pushes


def test_verbs_list_log_and_stop(cloud, quick, capsys):
    quick()
    slug = next(iter(cloud.kernels))
    assert [(one.slug, one.status) for one in verbs.list_sessions()] == [(slug, "COMPLETE")]
    verbs.log(slug)
    assert capsys.readouterr().out.rstrip().endswith("all is well")
    with pytest.raises(KitError, match="kept; --yes deletes it"):
        verbs.stop(slug, lambda _: False)
    with pytest.raises(KitError, match=f"no such session \\(did you mean '{slug}'"):
        verbs.stop(slug[:-1], lambda _: True)
    verbs.stop(slug, lambda _: True)
    assert not cloud.kernels


def test_a_log_that_is_cut_is_shown_once(cloud, quick, capsys):
    lines = "import time\nfor k in range(40):\n    print('line', k, flush=True)\n    time.sleep(0.05)\n"
    cloud.log_cuts, cloud.program = 3, lines + DONE
    quick()
    said = [line.split("| ")[1] for line in capsys.readouterr().out.splitlines() if "kaggle | line" in line]
    assert said == [f"line {k}" for k in range(40)]


@pytest.mark.parametrize("cuts", [[], [100, 200], [0]])
def test_weights_are_uploaded_once_and_resumed(cloud, tmp_path, cuts):
    file = tmp_path / "net.safetensors"
    file.write_bytes(bytes(range(256)) * 4)
    cloud.cuts = list(cuts)
    first = Datasets.connect().put("weights", [file])
    assert cloud.datasets[first.partition("/")[2]]["files"] == {"net.safetensors": file.read_bytes()}
    assert Datasets.connect().put("weights", [file]) == first
    assert cloud.calls.count("CreateDataset") == 1


def test_a_competition_that_is_not_there_is_put_there_after_a_question(cloud, tiny, digits, workspace):
    """Two folds of a frozen network, so that one short session does all of it."""
    cloud.program = DONE.replace("tiny-digits", "digits")
    experiment = tiny()
    with pytest.raises(ConfigError, match=r"its files \(sampleSubmission.csv, test1, train\) have to"):
        run_pipeline(experiment, workspace, digits, folds=[0], on="kaggle")
    assert not cloud.datasets
    run = Run.open(experiment, workspace)
    for _ in range(2):
        sessions = Sessions([run], [0], "tiny", ask=lambda question: "private dataset of yours" in question)
        kernel = sessions.kernel(1, 1.0)
    assert kernel.competition is None
    (name,) = kernel.datasets
    assert cloud.calls.count("CreateDataset") == 1, "the same files, the same bytes: uploaded once"
    files = cloud.datasets[name.partition("/")[2]]["files"]
    assert sorted(files) == ["sampleSubmission.csv", "test1.zip", "train.zip"]
    with zipfile.ZipFile(io.BytesIO(files["test1.zip"])) as archive:
        assert len(archive.namelist()) == 50


def test_tables_that_are_too_large_for_the_script_become_a_dataset(cloud, there, digits, workspace, monkeypatch):
    run = Run.open(there, workspace)
    download.download(run, digits)
    index.index(run)
    split.split(run)
    assert not Sessions([run], [0], "tiny").kernel(1, 1.0).datasets
    monkeypatch.setattr(cargo, "MOST_BYTES", 1)
    (name,) = Sessions([run], [0], "tiny").kernel(1, 1.0).datasets
    held = json.loads(cloud.datasets[name.partition("/")[2]]["files"]["tables.json"])
    assert held[f"data/{SLUG}/index.csv"] == run.workspace.index(SLUG).read_text()
    assert f"data/{SLUG}/folds-2-0.csv" in held
    second = Sessions([run], [0], "tiny").kernel(2, 1.0)
    assert second.kernels, "the session before has the tables"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.start=teacher", "model.start: the models of teacher do not travel to Kaggle"),
        ("data.extra=more", "data.extra: more does not travel to Kaggle"),
    ],
)
def test_what_does_not_travel_is_refused_before_it_costs_quota(cloud, tiny, workspace, override, message):
    with pytest.raises(ConfigError, match=message):
        run_pipeline(tiny(override), workspace, on="kaggle")
    assert not cloud.calls


def test_a_run_comes_home_with_its_files_named_as_here(there, tmp_path):
    weights, corrections = tmp_path / "net.safetensors", tmp_path / "c.csv"
    asked = replace(
        there, model=replace(there.model, weights=str(weights)), data=replace(there.data, corrections=str(corrections))
    )
    away = schema.build(Experiment, cargo.localised(asked), "there")
    assert (away.model.weights, away.data.corrections) == ("weights/net.safetensors", "corrections/tiny.csv")
    assert away.competition == SLUG
    assert cargo.at_home(away, asked) == asked


def test_the_kaggle_command_lists_it_and_fetches_from_it(cloud, quick, tmp_path):
    """Kaggle's own client, as it is."""
    quick()
    slug = next(iter(cloud.kernels))
    extended = pytest.importorskip("kaggle.api.kaggle_api_extended")
    api = extended.KaggleApi()
    api.authenticate()
    assert [kernel.ref for kernel in api.kernels_list(user=OWNER)] == [f"{OWNER}/{slug}"]
    assert "COMPLETE" in str(api.kernels_status(f"{OWNER}/{slug}").status)
    api.kernels_output(f"{OWNER}/{slug}", str(tmp_path / "out"), force=True)
    assert (tmp_path / "out" / "runs" / "tiny" / "fold_0" / "oof.csv").read_text() == "oof"
