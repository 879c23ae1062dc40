import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adnet.metrics import sequence_statistics

TOOLKIT = json.loads((Path(__file__).parents[1] / "fixtures" / "davis_toolkit_results.json").read_text())


@pytest.mark.parametrize("method", TOOLKIT)
@pytest.mark.parametrize("measure", ["J", "F"])
def test_statistics_equal_the_published_toolkit(method, measure):
    for expected in TOOLKIT[method][measure].values():
        statistics = sequence_statistics(expected["raw"])
        # The toolkit's scores were printed with ten digits.
        assert statistics["mean"] == pytest.approx(expected["mean"], abs=1e-9)
        assert statistics["recall"] == pytest.approx(expected["recall"], abs=1e-9)
        assert statistics["decay"] == pytest.approx(expected["decay"], abs=1e-9)


@pytest.mark.parametrize(("method", "j", "f"), [("fst", 55.8, 51.1), ("vpn", 70.2, 65.5)])
def test_mean_over_sequences_gives_rows_of_table_2(method, j, f):
    means = {
        measure: 100 * np.mean([sequence_statistics(s["raw"])["mean"] for s in TOOLKIT[method][measure].values()])
        for measure in "JF"
    }
    assert {measure: round(mean, 1) for measure, mean in means.items()} == {"J": j, "F": f}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    # Edges, counted from 1: 1 1 1 1 1; 1 1 2 2 2; 1 2 2 3 3; 1 2 3 3 4; 1 2 3 4 5. Bins hold both of theirs.
    ("values", "decay"),
    [
        ([0.3], 0),
        ([0.9, 0.1], 0.9 - 0.1),
        ([0.9, 0.6, 0.1], (0.9 + 0.6) / 2 - 0.1),
        ([1, 0.8, 0.5, 0.2], (1 + 0.8) / 2 - (0.5 + 0.2) / 2),
        ([1, 0.8, 0.7, 0.6, 0.1], (1 + 0.8) / 2 - (0.6 + 0.1) / 2),
    ],
)
def test_decay_of_short_sequences(values, decay):
    assert sequence_statistics(values)["decay"] == pytest.approx(decay)


def test_recall_is_strict():
    assert sequence_statistics([0.5, 0.5, np.nextafter(0.5, 1), 0.4])["recall"] == 0.25


def test_decay_of_a_long_sequence_does_not_wrap():
    values = np.linspace(1, 0, 1001)
    assert sequence_statistics(values)["decay"] == pytest.approx(0.75, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=600))
def test_statistics_stay_in_range(values):
    statistics = sequence_statistics(values)
    assert 0 <= statistics["mean"] <= 1 + 1e-12
    assert 0 <= statistics["recall"] <= 1
    assert -1 - 1e-12 <= statistics["decay"] <= 1 + 1e-12


@pytest.mark.parametrize("values", [[], [[0.1, 0.2]]])
def test_statistics_need_a_vector(values):
    with pytest.raises(ValueError, match="at least one score"):
        sequence_statistics(values)


def test_the_result_is_a_plain_dictionary():
    statistics = sequence_statistics([1, 0.4, 0.6])
    assert json.loads(json.dumps(statistics)) == {
        "mean": pytest.approx(2 / 3),
        "recall": pytest.approx(2 / 3),
        "decay": pytest.approx(0.1),
    }
