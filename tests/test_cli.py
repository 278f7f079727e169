"""What a user types: help that reads well, one helpful line for a mistake, exit codes, JSON for scripts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kit import console
from kit.run.run import Run
from kit.tools import doctor

REPOSITORY = Path(__file__).resolve().parent.parent

COMMANDS = [
    "download",
    "index",
    "explore",
    "split",
    "train",
    "predict",
    "ensemble",
    "submit",
    "run",
    "demo",
    "doctor",
    "bench",
    "cache",
    "lr-find",
]


def _kit(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    settings = {**os.environ, "COLUMNS": "120", "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-c", "from kit.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=settings)


def test_help_lists_every_command_and_loads_no_torch():
    script = (
        "import sys; from kit.cli import app; app(['--help'], standalone_mode=False); sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    ("modules", "unneeded"),
    [
        (("stages.download", "stages.split", "stages.index", "stages.explore", "tools.runs"), ("torch", "matplotlib")),
        (("pipeline",), ("matplotlib", "sklearn")),  # by the first figure
    ],
)
def test_a_command_loads_only_what_it_needs(modules, unneeded):
    """torch takes seconds and 300 MB."""
    loads = "; ".join(f"import kit.{one}" for one in modules)
    script = f"import sys; {loads}; sys.exit(len(sys.modules.keys() & {set(unneeded)}))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--fold", "9"], "--fold 9: there are folds 0..4"),
        (["train", "--set", "train.epoch=3"], "train.epoch: no such key (did you mean 'train.epochs'?)"),
        (["train", "-c", "configs/nothing.yaml"], "configs/nothing.yaml: no such file"),
        (["run", "--seed", "0..x"], "--seed 0..x: expected a number, 0..2 or 0,7"),
        (["cache", "empty"], "kit cache empty: expected nothing, or clear"),
        (["submit", "nowhere.csv", "-c", "demo"], "nowhere.csv: no such file"),
        (["run", "-c", "configs/competitions/digits.yaml"], "is a competition's YAML; -c wants an experiment's"),
        (["download", "--from", "/no/such/dir"], "--from /no/such/dir: no such file or folder"),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(arguments, message, tmp_path):
    done = _kit(*arguments, "--workspace", str(tmp_path))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_work_that_fails_is_exit_1_and_debug_shows_where(tmp_path):
    done = _kit("index", "--workspace", str(tmp_path))
    assert done.returncode == 1
    assert "type `kit download --workspace" in done.stderr
    assert "Traceback" in _kit("index", "--workspace", str(tmp_path), "--debug").stderr


def test_advice_is_typed_with_the_options_that_were_given(tmp_path):
    said = _kit("predict", "-c", "demo", "--set", "name=x", "--workspace", str(tmp_path)).stderr
    assert f"type `kit run -c demo --set name=x --workspace {tmp_path}` first" in said


def test_a_csv_is_checked_against_the_competition_of_its_passport(tmp_path):
    (tmp_path / "mine.csv").write_text("id,label\n1,0\n")
    (tmp_path / "mine.json").write_text('{"competition": "digits", "kaggle": []}')
    said = _kit("submit", str(tmp_path / "mine.csv"), "--dry-run", "--workspace", str(tmp_path)).stderr
    assert "data/digits/raw: no sampleSubmission.csv" in said


def test_json_is_all_of_standard_output(tmp_path, digits):
    done = _kit("download", "-c", "demo", "--from", str(digits), "--workspace", str(tmp_path), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["changed"] is True


def test_an_unknown_command_is_exit_2():
    assert _kit("trian").returncode == 2


@pytest.mark.slow
def test_doctor_reports_without_credentials(tmp_path):
    clean = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path), "KAGGLE_API_TOKEN": "", "KAGGLE_USERNAME": ""}
    done = _kit("doctor", "-c", "demo", "--set", "train.precision=fp32", "--json", **clean)
    assert done.returncode == 0, done.stderr
    findings = {finding["name"]: finding for finding in json.loads(done.stdout)}
    assert "no credentials" in findings["kaggle"]["text"]
    assert findings["precision"]["state"] == "ok"
    assert {"python", "packages", "cpu", "gpu", "disk"} <= set(findings)


def test_doctor_says_what_does_not_run(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor, "speed", lambda *_: 0.0)
    found = doctor._precision(Run.open("configs/demo.yaml", tmp_path))
    assert found.state == "problem"
    assert found.text.startswith("resnet18 at 32 px on ")
    assert "does not run in " in found.text


@pytest.mark.slow
def test_doctor_never_shows_a_token(tmp_path):
    done = _kit(
        "doctor",
        "-c",
        "demo",
        "--set",
        "train.precision=fp32",
        "--offline",
        HOME=str(tmp_path),
        KAGGLE_API_TOKEN="SECRETTOKEN",
    )
    assert "KAGGLE_API_TOKEN" in done.stdout
    assert "SECRETTOKEN" not in done.stdout + done.stderr


def test_models_shows_what_a_network_costs():
    everything = _kit("models", "--size", "64")
    assert everything.returncode == 0, everything.stderr
    assert all(name in everything.stdout for name in ("resnet18", "resnet152", "vgg11", "vgg19"))
    one = _kit("models", "resnet50", "--size", "224", "--option", "stride_at=1x1", "--json")
    assert one.returncode == 0, one.stderr
    found = json.loads(one.stdout)["models"][0]
    assert (found["parameters"], round(found["multiply_adds"] / 1e9, 2)) == (25_557_032, 3.86)
    assert found["stages"][-1][1] == [1000]
    assert json.loads(_kit("models", "timm:resnet18", "--json").stdout)["models"][0]["parameters"] == 11_689_512
    wrong = _kit("models", "resnet51")
    assert wrong.returncode == 2
    assert "did you mean 'resnet50'?" in wrong.stderr


@pytest.mark.parametrize("verb", ["run", "ensemble", "submit"])
def test_force_is_sent_to_the_stage_that_knows_it(verb, tmp_path):
    done = _kit(verb, "--force", "--workspace", str(tmp_path))
    assert done.returncode == 2
    assert "--force: this does only what is missing; the stages know --force: kit index" in done.stderr


def test_long_work_says_where_it_is_without_a_terminal(monkeypatch, capsys):
    clock = iter(range(0, 1000, 25))
    monkeypatch.setattr("kit.console.time.monotonic", lambda: float(next(clock)))
    with console.progress("decode", 10) as bar:
        for number in range(10):
            bar.advance(note=f"loss {number}")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert [line.split()[:2] for line in lines] == [["decode:", "20%"], ["decode:", "50%"], ["decode:", "80%"]]
    assert lines[0].endswith("loss 1")


@pytest.mark.parametrize(("module", "verb"), [("cleanlab", ["audit", "mine"]), ("kagglesdk", ["download"])])
def test_what_is_not_installed_is_named_by_the_verb_that_needs_it(module, verb, tmp_path):
    (tmp_path / "blocked" / module).mkdir(parents=True)
    text = f"raise ModuleNotFoundError('No module named {module}', name={module!r})"
    (tmp_path / "blocked" / module / "__init__.py").write_text(text)
    path = [str(tmp_path / "blocked"), str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
    environment = {"PYTHONPATH": os.pathsep.join(path), "KAGGLE_API_TOKEN": "x"}
    (tmp_path / "runs" / "mine").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "experiment.yaml").write_text("name: mine\ncompetition: digits\n")
    done = _kit(*verb, "--workspace", str(tmp_path), **environment)
    package = {"cleanlab": "cleanlab", "kagglesdk": "kaggle"}[module]
    assert done.returncode in {1, 2}
    assert f"needs the package {package}" in done.stderr, done.stderr
    assert "a bug" not in done.stderr
