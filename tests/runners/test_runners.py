"""Jobs in processes of their own: none outlives the one that started it."""

import os
import signal
import subprocess
import sys
import time

import pytest

from kit.errors import KitError
from kit.run.run import Run
from kit.runners import Job, choose_runner
from kit.runners.gpus import Gpus
from kit.schema import dump_yaml, to_mapping
from kit.stages.download import download
from kit.stages.index import index
from kit.stages.split import split
from kit.workspace import Workspace

CHILD = (
    "import os, time; from kit.processes import end_with_parent; end_with_parent(); print(os.getpid()); time.sleep(60)"
)
PARENT = f"""
import signal, sys
import kit.runners.gpus as gpus
from kit.runners import Job
def stop(*_): sys.exit(1)
signal.signal(signal.SIGTERM, stop)
gpus.COMMAND = (sys.executable, "-u", "-c", {CHILD!r})
gpus.Gpus([{{}}, {{}}]).run([Job(name, lambda: None, lambda: []) for name in ("one", "two")])
"""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL])
def test_the_jobs_processes_end_with_the_one_that_started_them(kind):
    parent = subprocess.Popen([sys.executable, "-u", "-c", PARENT], stdout=subprocess.PIPE, text=True)
    children = []
    while len(children) < 2:
        line = parent.stdout.readline()
        assert line, "both jobs print the number of their process"
        if " | " in line:
            children.append(int(line.split(" | ")[1]))
    assert all(map(_alive, children))
    parent.send_signal(kind)
    parent.wait(20)
    ends = time.monotonic() + 20
    while any(map(_alive, children)) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not any(map(_alive, children))


def test_here_the_jobs_are_done_in_order_and_an_error_is_the_callers():
    done = []

    def fail() -> None:
        raise KitError("no luck")

    jobs = [
        Job("one", lambda: done.append(1), list),
        Job("two", fail, list),
        Job("three", lambda: done.append(3), list),
    ]
    with pytest.raises(KitError, match="no luck"):
        choose_runner("here").run(jobs)
    assert done == [1]


def test_after_a_failure_no_new_job_begins(monkeypatch, tmp_path):
    code = "import pathlib, sys; pathlib.Path(sys.argv[1]).touch(); sys.exit(int(sys.argv[2]))"
    monkeypatch.setattr("kit.runners.gpus.COMMAND", (sys.executable, "-c", code))
    jobs = [
        Job(name, lambda: None, lambda name=name, code=code: [str(tmp_path / name), code])
        for name, code in (("one", "0"), ("two", "3"), ("three", "0"))
    ]
    with pytest.raises(KitError, match=r"two failed \(the reason is above\)"):
        Gpus([{}]).run(jobs)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_a_job_whose_time_is_over_is_told(monkeypatch):
    monkeypatch.setattr("kit.runners.gpus.COMMAND", (sys.executable, "-c", "import sys; sys.exit(0)"))
    late = Job("late", lambda: None, lambda: None)
    assert Gpus([{}]).run([Job("done", lambda: None, list), late]) == [late]


def test_a_process_that_cannot_be_started_is_no_success(monkeypatch, tmp_path):
    monkeypatch.setattr("kit.runners.gpus.COMMAND", (str(tmp_path / "nothing"),))
    with pytest.raises(FileNotFoundError):
        Gpus([{}]).run([Job("one", lambda: None, list)])


@pytest.mark.slow
def test_the_folds_of_a_fresh_run_may_start_at_the_same_moment(tmp_path, digits, tiny):
    """As a job array does on a shared disk: one of them settles the run, and all go on with it."""
    place = Workspace(tmp_path / "place")
    run = Run.open(tiny("data.num_folds=5", "machine.memory_format=auto", "train.epochs=1"), place)
    download(run, digits)
    index(run)
    split(run)
    config = tmp_path / "tiny.yaml"
    config.write_text(dump_yaml(to_mapping(run.asked)))
    words = [sys.executable, "-m", "kit", "train", "-c", str(config), "--workspace", str(place.root), "--fold"]
    jobs = [
        subprocess.Popen([*words, str(fold)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for fold in range(5)
    ]
    said = [job.communicate(timeout=300)[0] for job in jobs]
    assert [job.returncode for job in jobs] == [0] * 5, said
    assert sum("run tiny on " in text for text in said) == 1
    assert sum("goes on as it was made" in text for text in said) == 4
    made = Run.open(run.asked, place)
    assert all(fold.is_trained for fold in made.folds())
    assert len({str(fold.computing) for fold in made.folds()}) == 1
