"""The demo: laid out like the competition, and the whole way through to a score that can be trusted."""

import json
import os
import subprocess
import sys
import zipfile

import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from kit.config import Experiment
from kit.run.run import Run
from kit.tools.demo import next_steps, write_archives


def test_laid_out_like_the_competition(tmp_path):
    write_archives(tmp_path)
    train, test = (zipfile.ZipFile(tmp_path / f"{name}.zip").namelist() for name in ("train", "test1"))
    assert len(train) + len(test) == 1797
    assert len(test) == 359
    solution = pd.read_csv(tmp_path / "solution.csv")
    assert set(test) == {f"test1/{k}.jpg" for k in solution["id"]}
    assert solution["label"].tolist() == load_digits().target[4::5].tolist()
    assert all(name.split("/")[1].split(".")[0].isdigit() for name in train)


@pytest.mark.parametrize(("device", "config"), [("cpu", "quick"), ("cuda", "gpu")])
def test_what_it_says_to_type_next_is_for_the_machine(tmp_path, device, config):
    run = Run.open("configs/demo.yaml", tmp_path)
    run.device = torch.device(device)
    said = next_steps(run)
    assert [line.split()[:2] for line in said[1:]] == [["kit", word] for word in ("doctor", "run", "submit", "run")]
    assert said[2].split()[2:4] == ["-c", f"configs/dogs-vs-cats-{config}.yaml"]
    assert Experiment.load(said[2].split()[3])


@pytest.mark.slow
def test_the_demo_end_to_end(tmp_path):
    command = [sys.executable, "-c", "from kit.cli import main; main()", "demo", "--workspace", str(tmp_path), "--json"]
    command += ["--set", "data.num_folds=2", "--set", "train.epochs=6"]  # of 5 and 8
    done = subprocess.run(command, capture_output=True, text=True, timeout=500, env=os.environ)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["test_accuracy"] >= 0.96
    assert abs(result["test_accuracy"] - result["cv_accuracy"]) < 0.03, "the CV says what the held-back labels say"
    assert len(pd.read_csv(tmp_path / "submissions" / "demo.csv")) == 359
