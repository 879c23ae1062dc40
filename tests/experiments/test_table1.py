from __future__ import annotations

from pathlib import Path

import pytest

from adnet.report.page import build_report

TABLE1 = Path(__file__).parents[2] / "experiments" / "table1"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on the committed runs, with no data set at hand."""
    return build_report([TABLE1 / "runs"], tmp_path_factory.mktemp("table1") / "report").parent


@pytest.mark.parametrize("name", ["table1.md", "table1.csv", "differences.md", "differences.csv"])
def test_the_tables_are_those_of_the_committed_runs(report: Path, name: str) -> None:
    """A new run: `python -m adnet.report runs=experiments/table1/runs`, and copy the file."""
    assert (TABLE1 / name).read_bytes() == (report / name).read_bytes()


def test_the_page_shows_the_tables(report: Path) -> None:
    page = (TABLE1 / "README.md").read_text()
    for name in ("table1.md", "differences.md"):
        rows = [line for line in (report / name).read_text().splitlines() if line.startswith("|")]
        assert rows
        assert "\n".join(rows) in page


def test_no_run_names_a_place() -> None:
    for file in (TABLE1 / "runs").rglob("config.yaml"):
        assert not [line for line in file.read_text().splitlines() if " /" in line]
