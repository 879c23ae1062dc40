"""The report as a whole: what lies in the folder, what the page says, and that nothing is lost on the way."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from adnet.errors import UserError
from adnet.report import page, tables
from adnet.report.figures.plot import Plot
from adnet.report.page import write_report
from adnet.report.read import find_runs


class Links(HTMLParser):
    """Everything that a browser would fetch or follow, and whether the tags close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.targets += [value or "" for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "img", "br", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plots take most of the time and are tested elsewhere."""
    monkeypatch.setattr(Plot, "save", lambda *_: "<svg/>")


@pytest.fixture
def bare(make_run: Callable[..., Path], tmp_path: Path) -> Path:
    """A run that nothing is drawn of, which is quick."""
    folder = make_run("0")
    (folder / "metrics.csv").unlink()
    (folder / "evaluation/davis2016-val-paper/scores.json").unlink()
    return tmp_path / "runs"


def test_the_folder_is_complete(report: Path) -> None:
    names = {path.name for path in report.iterdir()}
    for table in ("table1", "differences", "runs", "saliency"):
        assert {f"{table}.md", f"{table}.csv", f"{table}.tex"} <= names
    figures = {path.name for path in (report / "figures").iterdir()}
    for figure in ("scores", "sequences", "attributes", "drift", "precision_recall", "similarity", "training"):
        assert {f"{figure}.png", f"{figure}.csv"} <= figures
    assert {"masks.csv", "masks-camel-full.png", "worst.csv", "worst-full-camel-00000.png"} <= figures
    assert [path.name for path in report.parent.iterdir()] == ["report"]


def test_the_page_needs_nothing_but_itself(report: Path) -> None:
    text = (report / "index.html").read_text()
    links = Links(text)
    assert links.open == []
    for target in links.targets:
        assert target.startswith("data:") or (report / target).is_file()
    assert not re.findall(r"url\(|@import|<script[^>]*src|<link|https?:", re.sub(r"data:[^\"\\\\]*", "", text))
    assert sum(target.startswith("data:image/jpeg") for target in links.targets) == 8 + 8
    assert sum(target.startswith("data:image/svg") for target in links.targets) == 7


def test_the_page_says_what_was_measured(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert "<h1>A &lt;b&gt;title&lt;/b&gt;</h1>" in text
    assert "2 runs of 2 variants, scored on davis2016 val, protocol paper." in text
    for fact in ("last", "2,000", "25 min in all", "0123456789abcdef", "torch 2.14.0, adnet 0.1.0", "4,400,000"):
        assert f"<dd>{fact}</dd>" in text
    assert "<b>65.00</b>" in text
    assert "published" in text


def test_the_same_runs_make_the_same_page(report: Path, two_runs: Path, tmp_path: Path) -> None:
    again = write_report(find_runs([two_runs]), tmp_path / "report", title="A <b>title</b>")
    assert again.read_bytes() == (report / "index.html").read_bytes()


def test_facts_in_which_runs_differ_are_all_named(bare: Path, make_run: Callable[..., Path], tmp_path: Path) -> None:
    file = make_run("1", config={"model": {"encoder": {"backbone": "resnet101"}}}) / "summary.json"
    file.write_text(file.read_text().replace("2.14.0", "2.13.1").replace("2000", "500"))
    text = write_report(find_runs([bare]), tmp_path / "report").read_text()
    assert "<dd>2,000, 500</dd>" in text
    assert "torch 2.14.0 / 2.13.1" in text
    assert "<dd>resnet101</dd>" in text
    assert "<dt>Runs of full differ in</dt><dd>model.encoder.backbone</dd>" in text


def test_a_report_is_replaced_as_a_whole(bare: Path, tmp_path: Path) -> None:
    output = tmp_path / "reports" / "report"
    (output.parent / ".report.0123abcd.draft" / "new").mkdir(parents=True)  # by a process that was killed
    write_report(find_runs([bare]), output)
    (output / "stale.txt").write_text("old")
    write_report(find_runs([bare]), output)
    assert not (output / "stale.txt").exists()
    assert [*output.parent.iterdir()] == [output]
    assert (output / "index.html").is_file()


def test_an_empty_folder_may_be_filled(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    assert write_report(find_runs([bare]), tmp_path / "report").is_file()


@pytest.mark.parametrize("name", ["notes.txt", "index.html"])
def test_what_is_no_report_is_refused(bare: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / "thesis"
    output.mkdir()
    (output / name).write_text("mine")
    with pytest.raises(UserError, match="holds something that is not a report"):
        write_report(find_runs([bare]), output)
    assert (output / name).read_text() == "mine"


@pytest.mark.parametrize("output", [".", "..", "sub/.."])
def test_the_working_folder_is_refused(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    """Where it is empty, too: what is replaced is moved, and the shell would be left in it."""
    here = tmp_path / "above" / "here"
    (here / "sub").mkdir(parents=True)
    monkeypatch.chdir(here)
    with pytest.raises(UserError, match=rf"^output={output}: the report replaces its whole folder"):
        write_report(find_runs([bare]), Path(output))
    assert here.is_dir()


def test_a_file_is_refused(bare: Path, tmp_path: Path) -> None:
    (tmp_path / "report").write_text("mine")
    with pytest.raises(UserError, match="this is a file"):
        write_report(find_runs([bare]), tmp_path / "report")


def test_runs_inside_the_report_are_not_thrown_away(bare: Path, tmp_path: Path) -> None:
    output = tmp_path / "report"
    write_report(find_runs([bare]), output)
    bare.rename(output / "runs")
    with pytest.raises(UserError, match="is inside the report that would be replaced"):
        write_report(find_runs([output / "runs"]), output)
    assert (output / "runs/0/summary.json").is_file()


def test_a_failure_leaves_the_old_report(bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "report"
    before = write_report(find_runs([bare]), output).read_bytes()
    monkeypatch.setattr(tables, "run_table", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(find_runs([bare]), output)
    assert (output / "index.html").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report", "runs"]


def test_nothing_is_written_without_runs(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with pytest.raises(UserError, match="no finished run found"):
        write_report(find_runs([tmp_path / "runs"]), tmp_path / "report")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.usefixtures("undrawn")
def test_missing_frames_are_said(make_run: Callable[..., Path], tmp_path: Path) -> None:
    text = write_report(find_runs([make_run("0", root=tmp_path / "no-davis")]), tmp_path / "report").read_text()
    assert "The overlay strips are left out" in text
    assert "no-davis" in text
    assert "data:image/jpeg" not in text


@pytest.mark.usefixtures("undrawn")
def test_an_unknown_dataset_folder_is_said(make_run: Callable[..., Path], tmp_path: Path) -> None:
    text = write_report(find_runs([make_run("0")]), tmp_path / "report").read_text()
    assert "evaluation.json names no dataset folder" in text


@pytest.mark.usefixtures("undrawn")
def test_pictures_can_be_switched_off(two_runs: Path, tmp_path: Path) -> None:
    text = write_report(find_runs([two_runs]), tmp_path / "report", strip_sequences=0, worst_frames=0).read_text()
    for heading in ("<h3>Masks</h3>", "<h3>The worst frames</h3>"):
        assert heading not in text
    assert '<img src="data:image/jpeg' not in text


@pytest.mark.usefixtures("undrawn")
def test_embeddings_beyond_the_budget_are_left_out_and_named(
    two_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "EMBEDDING_BUDGET", 2000)
    text = write_report(find_runs([two_runs]), tmp_path / "report").read_text()
    assert "Left out to keep the page small: bear, baseline; camel, full; camel, baseline." in text
    assert text.count('"sequence": "bear"') == 1


def test_runs_without_evaluation_still_report(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for file in make_run("0").rglob("scores.json"):
        file.unlink()
    text = write_report(find_runs([tmp_path / "runs"]), tmp_path / "report").read_text()
    assert "No run has been evaluated yet" in text
    assert "Training loss" not in text  # drawn, not text
    assert (tmp_path / "report/figures/training.png").is_file()
    assert not (tmp_path / "report/table1.md").exists()


@pytest.mark.usefixtures("undrawn")
def test_runs_without_metrics_still_report(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for file in make_run("0").rglob("metrics.csv"):
        file.unlink()
    assert (
        "there are no training curves" in write_report(find_runs([tmp_path / "runs"]), tmp_path / "report").read_text()
    )


@pytest.mark.usefixtures("undrawn")
def test_comparisons_have_their_own_files(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("0")
    make_run("2", dataset="fbms", split="test")
    output = write_report(find_runs([tmp_path / "runs"]), tmp_path / "report").parent
    assert (output / "table1.md").is_file()
    assert (output / "table1-2-fbms-test-paper.md").is_file()
    assert "fbms test, protocol paper" in (output / "index.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_strange_names_are_escaped(make_run: Callable[..., Path], davis: Path, tmp_path: Path) -> None:
    folder = make_run("0", variant="<i>../x</i>", root=davis)
    output = write_report(find_runs([folder]), tmp_path / "report").parent
    assert "<i>" not in (output / "index.html").read_text()
    assert {path.parent.name for path in output.rglob("*.png")} == {"figures"}


def test_no_model_is_imported() -> None:
    heavy = ("torch", "lightning", "timm", "albumentations")
    code = f"import sys, adnet.report; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


@pytest.mark.usefixtures("undrawn")
def test_another_method_stands_in_the_tables(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run("0")
    (tmp_path / "osvos").mkdir()
    shutil.copy(run / "evaluation/davis2016-val-paper/scores.json", tmp_path / "osvos")
    output = write_report(find_runs([run, tmp_path / "osvos"]), tmp_path / "report").parent
    text = (output / "index.html").read_text()
    assert "1 run of 1 variant and 1 other method, scored on davis2016 val, protocol paper." in text
    assert "| osvos " in (output / "table1.md").read_text()
    assert "osvos" not in (output / "runs.md").read_text()


@pytest.mark.usefixtures("undrawn")
def test_scores_alone_make_a_report(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run("0")
    (tmp_path / "osvos.json").write_bytes((run / "evaluation/davis2016-val-paper/scores.json").read_bytes())
    text = write_report(find_runs([tmp_path / "osvos.json"]), tmp_path / "report").read_text()
    assert "1 method, scored on davis2016 val, protocol paper." in text
    assert "<h2>Training</h2>" not in text
