"""A run's page in a real browser: it renders without an error, and what is ticked is what the file says."""

import csv
import re
import shutil

import pytest

pytest.importorskip("cleanlab", reason="the audit needs it")

from kit.errors import ConfigError
from kit.pipeline import run_pipeline
from kit.run.run import Run
from kit.stages import train
from kit.tools import audit, report, runs
from kit.workspace import Workspace, read_json, write_json

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def page_file(tmp_path_factory, digits, tiny):
    experiment = tiny("name=shown", "train.epochs=8", "data.num_folds=3")
    workspace = Workspace(tmp_path_factory.mktemp("report"))
    run_pipeline(experiment, workspace, digits)
    audit.audit(Run.named("shown", workspace))
    return report.report(workspace, "shown")


@pytest.fixture(scope="module")
def browser():
    binary = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if binary is None:
        pytest.skip("no Chromium here: apt install chromium")
    sync = pytest.importorskip("playwright.sync_api")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with sync.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=binary, args=quiet)
        yield opened
        opened.close()


def test_the_page_needs_no_network_and_says_the_score(page_file):
    text = page_file.path.read_text()
    assert "http" not in re.sub('base64,[^"]+', "", text), "nothing is fetched"
    assert "CV accuracy" in text
    assert "expected on the test set" in text
    assert text.count('class="figure"') >= 4
    assert page_file.num_suspects > 0


@pytest.mark.parametrize("width", [1280, 390])
def test_it_renders_in_a_wide_and_a_narrow_window(page_file, browser, width):
    page, errors = browser.new_page(viewport={"width": width, "height": 900}), []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(page_file.path.as_uri())
    assert page.locator("h1").inner_text() == "shown"
    assert page.locator(".suspect").count() == page_file.num_suspects
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "nothing sticks out sideways"
    assert errors == []
    page.close()


def test_ticks_come_out_in_the_file(page_file, browser, tmp_path):
    page = browser.new_page()
    page.goto(page_file.path.as_uri())
    assert page.locator("#save").is_disabled()
    cards = page.locator(".suspect")
    ids = [cards.nth(place).get_attribute("data-id") for place in range(4)]
    cards.nth(0).get_by_label("drop").check()
    cards.nth(1).locator("select").select_option("7")  # choosing a label is ticking relabel
    cards.nth(2).get_by_label("fine").check()
    cards.nth(3).get_by_label("drop").check()
    cards.nth(3).get_by_label("drop").click()  # and taken back
    assert page.locator("#count").inner_text() == "3 marked"
    with page.expect_download() as download:
        page.locator("#save").click()
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    page.close()
    assert file.name == "corrections.csv"
    with file.open(newline="") as handle:
        rows = list(csv.reader(handle))
    assert rows == [
        ["image_id", "action", "target"],
        [ids[0], "drop", ""],
        [ids[1], "relabel", "7"],
        [ids[2], "fine", ""],
    ]


def test_earlier_corrections_are_ticked_already(page_file, tiny, tmp_path):
    workspace = Workspace(page_file.path.parents[2])
    first = (workspace.run("shown") / "suspects.csv").read_text().splitlines()[1].split(",")[0]
    (tmp_path / "old.csv").write_text(f"image_id,action,target\n{first},drop,\n")
    settings = ("train.epochs=1", "data.num_folds=3", f"data.corrections={tmp_path / 'old.csv'}")
    train.train(Run.open(tiny("name=again", *settings), workspace))
    (workspace.run("again") / "suspects.csv").write_bytes((workspace.run("shown") / "suspects.csv").read_bytes())
    text = report.report(workspace, "again").path.read_text()
    card = text[text.index(f'data-id="{first}"') :]
    assert 'value="drop" class="action" checked' in card[: card.index("</fieldset>")]


def test_no_such_run(workspace):
    with pytest.raises(ConfigError, match=r"no such run or blend"):
        report.report(workspace, "nothing")


def test_a_score_that_could_not_be_computed_is_left_empty(page_file):
    workspace = Workspace(page_file.path.parents[2])
    path = workspace.run("shown") / "cv.json"
    kept, cv = path.read_text(), read_json(path)
    row = cv["metrics"]["roc_auc"]
    cv["metrics"]["roc_auc"] = row | {
        "mean": None,
        "std": None,
        "interval": [None, None],
        "folds": [None, *row["folds"][1:]],
    }
    try:
        write_json(path, cv)
        assert "roc_auc" in report.report(workspace, "shown").path.read_text()
        assert len(runs.runs(workspace)) >= 1
    finally:
        path.write_text(kept)
