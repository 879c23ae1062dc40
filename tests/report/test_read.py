"""Run folders are read whole, and every broken file is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adnet.errors import UserError
from adnet.report.read import find_runs

SCORES = "evaluation/davis2016-val-paper/scores.json"
OF = {"dataset": "davis2016", "split": "val", "protocol": "paper"}


def test_a_run_is_read(make_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = make_run("a", seed=3, initial={"J": 0.1, "F": 0.05}, config={"optim": {"lr": 0.005}}, root=tmp_path)
    (run,) = find_runs([folder])
    assert (run.folder, run.variant, run.seed) == (folder, "full", 3)
    assert pytest.approx(0.65) == run.J
    assert pytest.approx(0.55) == run.F
    assert run.initial == {"J": 0.1, "F": 0.05}
    assert run.config == {"seed": 3, "optim.lr": 0.005}
    (evaluation,) = run.evaluations
    assert (evaluation.dataset, evaluation.split, evaluation.protocol) == ("davis2016", "val", "paper")
    assert evaluation.root == tmp_path
    assert evaluation.sequences == ("bear", "camel", "dog", "kite")
    np.testing.assert_allclose(evaluation.scores["J"]["mean"], [0.9, 0.4, 0.7, 0.6])
    np.testing.assert_allclose(evaluation.scores["F"]["recall"], [1, 0, 1, 0])


def test_sparse_columns_keep_their_own_steps(make_run: Callable[..., Path]) -> None:
    (run,) = find_runs([make_run("a")])
    steps, values = run.history["train/loss"]
    assert (steps.tolist(), values.tolist()) == ([0, 50, 100], [0.7, 0.5, 0.4])
    steps, values = run.history["val/J"]
    assert (steps.tolist(), values.tolist()) == ([99], [0.31])
    assert "epoch" not in run.history


def test_runs_are_searched_for_and_read_once(make_run: Callable[..., Path], tmp_path: Path) -> None:
    deep = make_run("sweep/1")
    make_run("sweep/0", variant="baseline")
    runs = find_runs([tmp_path / "runs", deep])
    assert [run.folder.name for run in runs] == ["0", "1"]


def test_only_the_summary_is_needed(make_run: Callable[..., Path]) -> None:
    folder = make_run("a")
    (folder / "summary.json").write_text(json.dumps({"variant": "full"}))
    (folder / "config.yaml").unlink()
    (folder / "metrics.csv").unlink()
    (folder / SCORES).unlink()
    (run,) = find_runs([folder])
    assert (run.seed, run.J, run.initial) == (None, None, None)
    assert (run.config, run.history, run.evaluations) == ({}, {}, ())


def test_null_decay_is_not_a_number(make_run: Callable[..., Path]) -> None:
    folder = make_run("a")
    file = folder / SCORES
    scores = json.loads(file.read_text())
    scores["sequences"]["bear"]["J"]["decay"] = None
    file.write_text(json.dumps(scores))
    (run,) = find_runs([folder])
    assert np.isnan(run.evaluations[0].scores["J"]["decay"]).tolist() == [True, False, False, False]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"runs=.*nowhere: there is no such folder"):
        find_runs([tmp_path / "nowhere"])


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no finished run found .*adnet\.train"):
        find_runs([tmp_path])


def test_unfinished_runs_are_counted(make_run: Callable[..., Path], tmp_path: Path) -> None:
    (make_run("a") / "summary.json").unlink()
    with pytest.raises(UserError, match=r"no finished run found \(1 folder.s. have a config.yaml but no summary.json"):
        find_runs([tmp_path])


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("summary.json", "{", "cannot be read as JSON"),
        ("summary.json", "[]", "expected a JSON object, got list"),
        ("summary.json", "{}", "`variant` is missing"),
        ("summary.json", '{"variant": "full", "J": "good"}', "`J`: expected type number or null, got 'good'"),
        ("summary.json", '{"variant": "full", "initial": {"J": 0.1}}', "`initial.F` is missing"),
        (
            "summary.json",
            '{"variant": "full", "initial": {"J": 0.1, "F": null}}',
            "`initial.F`: expected type number, got None",
        ),
        ("summary.json", '{"variant": "full", "seed": []}', r"`seed`: expected type integer, got \[\]"),
        (
            "summary.json",
            '{"variant": "full", "seconds": NaN}',
            "`seconds`: expected type number, got 'NaN'",
        ),
        ("summary.json", '{"variant": "full", "versions": [1]}', "`versions`: expected type object"),
        ("config.yaml", "a: [", "cannot be read as YAML"),
        ("metrics.csv", "step,train/loss\n1,much\n", "expected numbers"),
        ("metrics.csv", "train/loss\n1\n", "expected numbers below a header with `step`"),
        ("metrics.csv", "", "expected numbers below a header with `step`"),
        ("metrics.csv", "step,train/loss\n1,\0\n", "expected numbers"),
        (SCORES, "\x00", "cannot be read as JSON"),
        (SCORES, "{}", "`dataset` is missing"),
        (SCORES, json.dumps(OF | {"sequences": 3}), "`sequences`: expected type object, got 3"),
        (SCORES, json.dumps(OF | {"sequences": {}}), "no sequence is scored"),
        (SCORES, json.dumps(OF | {"sequences": {"bear": {"J": {}, "F": {}}}}), "`sequences.bear.J.mean` is missing"),
        ("evaluation/davis2016-val-paper/evaluation.json", "nothing", "cannot be read as JSON"),
        (
            "evaluation/davis2016-val-paper/evaluation.json",
            '{"root": 3}',
            "`root`: expected type string, got 3",
        ),
        (
            "evaluation/davis2016-val-paper/evaluation.json",
            '{"checkpoint": []}',
            "`checkpoint`: expected type string or null",
        ),
    ],
)
def test_a_broken_file_is_named(make_run: Callable[..., Path], file: str, content: str, message: str) -> None:
    folder = make_run("a")
    (folder / file).write_text(content)
    with pytest.raises(UserError, match=message) as caught:
        find_runs([folder])
    assert str(folder / file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_sequence_without_a_mean_is_refused(make_run: Callable[..., Path]) -> None:
    folder = make_run("a")
    file = folder / SCORES
    scores = json.loads(file.read_text())
    scores["sequences"]["bear"]["J"]["mean"] = None
    file.write_text(json.dumps(scores))
    with pytest.raises(UserError, match=r"`sequences\.bear\.J\.mean`: expected type number, got None"):
        find_runs([folder])


def method(folder: Path, run: Path) -> Path:
    """The scores of `run` as another method's, in `folder`."""
    folder.mkdir(parents=True)
    return Path(shutil.copy(run / SCORES, folder / "scores.json"))


def test_scores_alone_are_a_method_by_the_name_of_their_folder(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = make_run("a")
    method(tmp_path / "others/osvos", run)
    (tmp_path / "mine.json").write_bytes((run / SCORES).read_bytes())
    osvos, mine = find_runs([tmp_path / "others", tmp_path / "mine.json"])
    assert (osvos.variant, osvos.trained, osvos.summary, osvos.history) == ("osvos", False, {}, {})
    assert (mine.variant, mine.J) == ("mine", pytest.approx(0.65))
    assert osvos.evaluations[0].sequences == ("bear", "camel", "dog", "kite")


def test_scores_of_runs_are_no_methods(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("a")
    (make_run("b") / "summary.json").unlink()
    (run,) = find_runs([tmp_path / "runs"])
    assert run.trained


def test_a_method_does_not_take_the_name_of_a_variant(make_run: Callable[..., Path], tmp_path: Path) -> None:
    method(tmp_path / "full", make_run("a"))
    (found,) = find_runs([tmp_path / "full"])
    assert found.variant == "full (scored)"


def test_what_an_evaluation_may_have(make_enriched_run: Callable[..., Path]) -> None:
    (run,) = find_runs([make_enriched_run("a")])
    (evaluation,) = run.evaluations
    assert evaluation.frames["bear"].tolist() == [0.9] * 6
    assert evaluation.attributes == {"FM": ("bear", "dog"), "OCC": ("kite",)}
    assert evaluation.saliency["pooled"]["MAE"] == 0.05
    assert len(evaluation.saliency["per_frame"]["precision"]) == 256
    np.testing.assert_allclose(evaluation.drift["bear"], [0.1, 0.2, np.nan, 0.3, 0.4, 0.5])
    assert set(evaluation.embeddings) == {"bear", "camel"}


def test_what_an_evaluation_may_lack(make_run: Callable[..., Path], tmp_path: Path) -> None:
    (run,) = find_runs([make_run("a", root=tmp_path / "nowhere")])
    (evaluation,) = run.evaluations
    assert (evaluation.attributes, evaluation.saliency, evaluation.drift, evaluation.embeddings) == ({}, {}, {}, {})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("saliency", {"pooled": {"MAE": "low"}}, "`saliency.pooled.MAE`: expected type number, got 'low'"),
        ("saliency", {"pooled": {"precision": 1}}, "`saliency.pooled.precision`: expected type array, got 1"),
    ],
)
def test_broken_saliency_is_named(
    make_enriched_run: Callable[..., Path], key: str, value: object, message: str
) -> None:
    file = make_enriched_run("a") / SCORES
    file.write_text(json.dumps({**json.loads(file.read_text()), key: value}))
    with pytest.raises(UserError, match=message) as caught:
        find_runs([file.parents[2]])
    assert str(file) in str(caught.value)
