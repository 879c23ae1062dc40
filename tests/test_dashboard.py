from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adnet import dashboard


@pytest.fixture(autouse=True)
def _no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")


def panels(spec: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    sections = spec["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections}


def test_without_a_login_the_spec_is_a_file(run: Callable[..., Any]) -> None:
    ended = run(dashboard.main, "entity=team", "sweep=2026-01-01", "output=view.json")
    assert ended.code == 0, ended.err
    assert ended.out.startswith("view.json: the workspace's spec")
    spec = json.loads(Path("view.json").read_text())
    assert (spec["entity"], spec["project"], spec["displayName"]) == ("team", "adnet", "AD-Net ablation")

    sections = panels(spec)
    bars = [panel["config"] for panel in sections["Ablation"]]
    assert [bar["metrics"] for bar in bars] == [["summary_metrics.evaluation/J"], ["summary_metrics.evaluation/F"]]
    assert {(bar["groupBy"], bar["groupAgg"], bar["groupArea"]) for bar in bars} == {
        ("model.value.variant", "mean", "stderr")
    }
    curves = [panel["config"] for name in ("Curves by variant", "Speed") for panel in sections[name]]
    assert [metric for curve in curves for metric in curve["metrics"]] == [
        "val/J",
        "val/F",
        "train/loss",
        "val/cosine_distance",
        "train/lr",
        "train/gradient_norm",
        "train/pairs_per_second",
        "train/data_wait",
    ]
    assert {(curve["groupBy"], curve["xAxis"]) for curve in curves} == {("model.value.variant", "trainer/global_step")}
    assert [panel["config"]["mediaKeys"] for panel in sections["Overlays"]] == [["val/overlays"]]
    text = json.dumps(sections)
    for table in ("val/precision_recall_table", "val/consistency_table", "evaluation/sequences"):
        assert text.count(f'"{table}"') == 1
    (runs,) = spec["spec"]["section"]["runSets"]
    (only,) = runs["filters"]["filters"]
    assert (only["key"]["name"], only["op"], only["value"]) == ("group", "=", "2026-01-01")

    again = run(dashboard.main, "output=view.json")
    assert (again.code, again.err) == (
        1,
        "adnet: view.json is there already; give another output, or overwrite=true\n",
    )


def test_library_is_an_extra(monkeypatch: pytest.MonkeyPatch, run: Callable[..., Any]) -> None:
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    ended = run(dashboard.main)
    assert (ended.code, ended.err) == (1, "adnet: adnet.dashboard needs the extra: pip install 'adnet[wandb]'\n")
    assert list(Path.cwd().iterdir()) == []
