from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from adnet.report.page import write_report
from adnet.report.read import find_runs

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
RUNS = {
    "table1": [EXPERIMENTS / "table1" / "runs"],
    "table1_480_steps": [EXPERIMENTS / "table1_480_steps" / "runs"],
    "extensions": [EXPERIMENTS / "table1_480_steps" / "runs", EXPERIMENTS / "extensions" / "runs"],
    "table1_pretrained": [EXPERIMENTS / "table1_pretrained" / "runs"],
    "multi_scale": [EXPERIMENTS / "multi_scale" / "runs"],
    "beyond": [EXPERIMENTS / "beyond" / "runs"],
    "beyond_960_steps": [EXPERIMENTS / "beyond_960_steps" / "runs"],
}
TABLES = ["table1", "differences"]
"""What each of these experiments keeps of its report, as Markdown and CSV, at least."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make the report on the committed runs of an experiment once, with no data set at hand; figures are drawn of the first."""
    made: dict[str, Path] = {}

    def make(experiment: str) -> Path:
        if experiment not in made:
            output = tmp_path_factory.mktemp(experiment) / "report"
            with pytest.MonkeyPatch.context() as patch:
                if experiment != next(iter(RUNS)):
                    patch.setattr(Figure, "savefig", lambda *_, **__: None)
                made[experiment] = write_report(find_runs(RUNS[experiment]), output).parent
        return made[experiment]

    return make


@pytest.mark.parametrize("experiment", RUNS)
def test_the_tables_are_those_of_the_committed_runs(report: Callable[[str], Path], experiment: str) -> None:
    """After a new run, make the report with the command of the experiment's page, and copy the files."""
    folder = EXPERIMENTS / experiment
    kept = {file for pattern in ("*.md", "*.csv", "figures/*.csv") for file in folder.glob(pattern)}
    assert {folder / f"{name}.{kind}" for name in TABLES for kind in ("md", "csv")} <= kept
    for file in kept - {folder / "README.md"}:
        assert file.read_bytes() == (report(experiment) / file.relative_to(folder)).read_bytes(), file


@pytest.mark.parametrize("experiment", RUNS)
def test_the_page_shows_the_tables(report: Callable[[str], Path], experiment: str) -> None:
    page = (EXPERIMENTS / experiment / "README.md").read_text()
    for name in ("table1.md", "differences.md"):
        rows = [line for line in (report(experiment) / name).read_text().splitlines() if line.startswith("|")]
        assert rows
        assert "\n".join(rows) in page


@pytest.mark.parametrize("experiment", RUNS)
def test_no_run_names_a_place(experiment: str) -> None:
    for file in (EXPERIMENTS / experiment / "runs").rglob("config.yaml"):
        assert not [line for line in file.read_text().splitlines() if " /" in line]
