"""Which runs share a row, and which may stand in one table."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adnet.report.analysis.pooling import differing_settings, label_runs, pool
from adnet.report.read import find_runs


def test_seeds_are_pooled(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("0", seed=0, scores=(0.9, 0.5, 0.7, 0.6))
    make_run(
        "1",
        seed=1,
        scores=(0.7, 0.3, 0.7, 0.8),
        config={"run_dir": "elsewhere", "logger": {"kind": "wandb"}, "data": {"root": "d"}},
    )
    (comparison,) = pool(find_runs([tmp_path]))
    (result,) = comparison.results
    assert result.label == "full"
    np.testing.assert_allclose(result.scores["J"]["mean"], [0.8, 0.4, 0.7, 0.7])
    assert result.mean("J") == pytest.approx(0.65)


def test_other_settings_are_another_row(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("0", config={"optim": {"lr": 0.005}})
    make_run("1", config={"optim": {"lr": 0.01}})
    make_run("2", config={"optim": {"lr": 0.01}}, seed=1)
    (comparison,) = pool(find_runs([tmp_path]))
    assert [(result.label, len(result.runs)) for result in comparison.results] == [
        ("full (lr=0.005)", 1),
        ("full (lr=0.01)", 2),
    ]


def test_a_setting_that_an_older_version_lacks_is_off(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for number, model in enumerate([{}, {"dropout": 0}, {"dropout": None}, {"dropout": 0.3}]):
        make_run(f"{number}", config={"seed": number, "model": model})
    (comparison,) = pool(find_runs([tmp_path]))
    assert [(result.label, len(result.runs)) for result in comparison.results] == [
        ("full (dropout=0.3)", 1),
        ("full (dropout=off)", 3),
    ]


def test_a_switch_is_on_or_off(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for name, decoder in {"0": True, "1": False}.items():
        make_run(name, config={"model": {"decoder": decoder}})
    (comparison,) = pool(find_runs([tmp_path]))
    assert {result.label for result in comparison.results} == {"full (decoder=on)", "full (decoder=off)"}


def test_labels_name_the_fewest_settings_that_tell_rows_apart(make_run: Callable[..., Path], tmp_path: Path) -> None:
    lite = {"steps": 480, "optim": {"lr": 0.1, "decay": 0}, "model": {"encoder": {"backbone": "lite0"}}}
    paper = {"steps": 30000, "optim": {"lr": 0.2, "decay": 0}, "model": {"encoder": {"backbone": "resnet101"}}}
    make_run("0", config=lite)
    make_run("1", config=paper)
    runs = find_runs([tmp_path])
    assert list(label_runs(runs).values()) == ["full (steps=480)", "full (steps=30000)"]
    assert differing_settings(runs) == {"full": ["model.encoder.backbone", "optim.lr", "steps"]}


def test_labels_of_a_grid_name_all_its_axes(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for number, (first, second) in enumerate([(1, 1), (1, 2), (2, 1), (2, 2)]):
        make_run(str(number), config={"a": {"rate": first}, "b": {"rate": second}})
    assert sorted(label_runs(find_runs([tmp_path])).values()) == [
        "full (a.rate=1, b.rate=1)",
        "full (a.rate=1, b.rate=2)",
        "full (a.rate=2, b.rate=1)",
        "full (a.rate=2, b.rate=2)",
    ]


def test_checkpoints_of_a_run_have_their_own_rows(make_run: Callable[..., Path]) -> None:
    folder = make_run("0")
    own = folder / "evaluation/davis2016-val-paper"
    for name, checkpoint in (("best-davis2016-val-paper", "best.ckpt"), ("last-davis2016-val-paper", "last.ckpt")):
        shutil.copytree(own, folder / "evaluation" / name)
        (folder / "evaluation" / name / "evaluation.json").write_text(json.dumps({"checkpoint": f"a/{checkpoint}"}))
    scores = folder / "evaluation/last-davis2016-val-paper/scores.json"
    document = json.loads(scores.read_text())
    next(iter(document["sequences"].values()))["J"]["mean"] += 0.1
    scores.write_text(json.dumps(document))
    (comparison,) = pool(find_runs([folder]))
    assert [(result.label, len(result.runs)) for result in comparison.results] == [
        ("full", 1),
        ("full [last-davis2016-val-paper]", 1),
        ("full, best", 1),
    ]


def test_an_evaluation_done_again_is_one_row_with_what_either_has(make_enriched_run: Callable[..., Path]) -> None:
    folder = make_enriched_run("0")
    own = folder / "evaluation/davis2016-val-paper"
    shutil.copytree(own, folder / "evaluation/last-davis2016-val-paper")
    (own / "embeddings.json").unlink()
    document = json.loads((own / "scores.json").read_text())
    next(iter(document["sequences"].values()))["F"]["mean"] += 2e-6  # a pixel near the threshold
    (own / "scores.json").write_text(json.dumps(document))
    (comparison,) = pool(find_runs([folder]))
    (result,) = comparison.results
    assert result.label == "full"
    assert [evaluation.folder for evaluation in result.evaluations] == [own]
    assert result.evaluations[0].drift


def test_rows_follow_the_paper(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for variant in ("mine", "full", "anchor_diffusion", "anchor", "intra", "baseline"):
        make_run(variant, variant=variant)
    runs = find_runs([tmp_path])
    (comparison,) = pool(runs)
    labels = [result.label for result in comparison.results]
    assert labels == ["baseline", "intra", "anchor", "anchor_diffusion", "full", "mine"]
    assert comparison.baseline is comparison.results[0]
    assert set(label_runs(runs).values()) == set(labels)


def test_two_baselines_are_no_baseline(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("0", variant="baseline", config={"optim": {"lr": 0.005}})
    make_run("1", variant="baseline", config={"optim": {"lr": 0.01}})
    assert pool(find_runs([tmp_path]))[0].baseline is None


@pytest.mark.parametrize(
    "other",
    [
        {"dataset": "fbms"},
        {"split": "train"},
        {"protocol": "published"},
        {"sequences": ("bear", "camel", "dog", "surf")},
    ],
)
def test_what_differs_is_not_compared(make_run: Callable[..., Path], tmp_path: Path, other: dict[str, str]) -> None:
    make_run("0", variant="baseline")
    make_run("1", variant="intra")
    make_run("2", variant="full", **other)
    first, second = pool(find_runs([tmp_path]))
    assert [result.label for result in first.results] == ["baseline", "intra"]
    assert [result.label for result in second.results] == ["full"]


def test_scores_of_other_frames_are_not_compared(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """As when some masks were moved away, to learn from them, between two calls of `adnet.score`; older files name no frames."""
    document = json.loads((make_run("0") / "evaluation/davis2016-val-paper/scores.json").read_text())
    for name, last in (("before", 6), ("again", 6), ("after", 3)):
        for row in document["sequences"].values():
            row["frames"] = row["frames"][:last]
            for measure in "JF":
                row[measure]["frames"] = row[measure]["frames"][:last]
        (tmp_path / f"{name}.json").write_text(json.dumps(document))
    for row in document["sequences"].values():  # of "after"
        del row["frames"]
    (tmp_path / "older.json").write_text(json.dumps(document))
    found = pool(find_runs([tmp_path / f"{name}.json" for name in ("before", "after", "again", "older")]))
    together = [[result.label for result in comparison.results] for comparison in found]
    assert together == [["after", "older"], ["again", "before"]]


def test_mean_leaves_out_what_is_no_number(make_run: Callable[..., Path], tmp_path: Path) -> None:
    make_run("0")
    (comparison,) = pool(find_runs([tmp_path]))
    decay = comparison.results[0].scores["J"]["decay"]
    decay[0] = np.nan
    assert comparison.results[0].mean("J", "decay") == pytest.approx(0.02)
    decay[:] = np.nan
    assert np.isnan(comparison.results[0].mean("J", "decay"))


def test_another_method_joins_every_comparison_on_its_sequences(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for protocol in ("paper", "published"):
        make_run(protocol, protocol=protocol)
    make_run("elsewhere", dataset="fbms", split="test")
    (tmp_path / "osvos").mkdir()
    document = json.loads((tmp_path / "runs/paper/evaluation/davis2016-val-paper/scores.json").read_text())
    (tmp_path / "osvos/scores.json").write_text(json.dumps(document | {"protocol": "davis"}))
    found = pool(find_runs([tmp_path / "runs", tmp_path / "osvos"]))
    rows = {(b.dataset, b.protocol): [result.label for result in b.results] for b in found}
    assert rows == {
        ("davis2016", "paper"): ["full", "osvos"],
        ("davis2016", "published"): ["full", "osvos"],
        ("fbms", "paper"): ["full"],
    }
    (alone,) = pool(find_runs([tmp_path / "osvos"]))
    assert (alone.protocol, [result.label for result in alone.results]) == ("davis", ["osvos"])


def test_a_postprocess_is_another_row(make_run: Callable[..., Path], tmp_path: Path) -> None:
    file = make_run("0", seed=0) / "evaluation/davis2016-val-paper/evaluation.json"
    postprocess = {"_target_": "adnet.instance_pruning.rules.InstancePruning", "iou": 0.3}
    file.write_text(json.dumps({"backend": "onnx", "postprocess": postprocess}))
    file = make_run("1", seed=1) / "evaluation/davis2016-val-paper/evaluation.json"
    file.write_text(json.dumps({"backend": "torch", "postprocess": None}))
    (comparison,) = pool(find_runs([tmp_path / "runs"]))
    assert [result.label for result in comparison.results] == ["full", "full + InstancePruning + onnx"]
