"""The paper's numbers agree with what the paper says about them in words (Sections 4.2 and 4.3)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from adnet.metrics import sequence_statistics
from adnet.report.analysis.pooling import VARIANTS
from adnet.report.read import paper_tables


def test_table1_has_a_row_per_variant_and_the_printed_differences() -> None:
    rows = {row["variant"]: row for row in paper_tables()["table1"]["rows"]}
    assert tuple(rows) == VARIANTS
    differences = {
        variant: tuple(round(row[measure] - rows["baseline"][measure], 2) for measure in ("J", "F"))
        for variant, row in rows.items()
    }
    assert differences == {
        "baseline": (0.0, 0.0),
        "intra": (0.76, -0.2),
        "anchor": (1.43, 0.18),
        "anchor_diffusion": (2.02, 1.2),
        "full": (2.85, 1.53),
    }


def test_table2_has_the_margins_of_section_4_3() -> None:
    rows = {(row["method"], row["group"]): row for row in paper_tables()["table2"]["rows"]}
    assert len(rows) == 17
    second = rows["MotAdapt", "unsupervised"]
    before = rows["AD-Net (multiple scales)", "unsupervised"]
    after = rows["AD-Net + instance pruning", "unsupervised"]
    assert [round(before[m] - second[m], 1) for m in ("J", "F")] == [2.2, 0.8]
    assert [round(after[m] - second[m], 1) for m in ("J", "F")] == [4.5, 3.1]
    assert all(row["first_frame"] == (row["group"] == "semi-supervised") for row in rows.values())


def test_table3_has_18_other_methods_and_the_claims_of_section_4_3() -> None:
    rows = {row["method"]: row for row in paper_tables()["table3"]["rows"]}
    ours = rows.pop("AD-Net")
    assert len(rows) == 18
    assert ours["FBMS"][0] == pytest.approx(min(row["FBMS"][0] for row in rows.values()))
    assert ours["FBMS"][1] > max(row["FBMS"][1] for row in rows.values())
    assert ours["DAVIS"][1] > max(row["DAVIS"][1] for row in rows.values())
    assert ours["ViSal"][0] < min(row["ViSal"][0] for row in rows.values() if row["group"] == "video")
    for row in (*rows.values(), ours):
        for mae, f_measure in (row["DAVIS"], row["FBMS"], row["ViSal"]):
            assert 0 < mae < 1 < f_measure < 100


@pytest.mark.parametrize("method", ["fst", "vpn"])
def test_rows_of_table2_come_from_the_per_frame_values_that_their_toolkit_published(method: str) -> None:
    file = Path(__file__).parents[1] / "fixtures/davis_toolkit_results.json"
    published = json.loads(file.read_text())[method]
    (row,) = (row for row in paper_tables()["table2"]["rows"] if row["method"] == method.upper())
    for measure in ("J", "F"):
        sequences = [sequence_statistics(scores["raw"])["mean"] for scores in published[measure].values()]
        assert len(sequences) == 20
        assert round(100 * float(np.mean(sequences)), 1) == row[measure]
