"""Files that the commands write, held against the schemas that the documentation shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pycocotools.coco import COCO
from schemas import hold
from videos import pictures, write_video

from adnet.data import davis2016
from adnet.inference import Protocol, VideoSegmenter, evaluate
from adnet.models import ADNet

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("file", ["beyond/released"])
def test_published_scores(file: str) -> None:
    assert len(hold(ROOT / "experiments" / f"{file}.json", "scores")["sequences"]) == 20


def test_an_evaluation(tiny_davis: Path, tmp_path: Path, tiny_model: ADNet) -> None:
    segmenter = VideoSegmenter(tiny_model, Protocol("mine"), (65, 113))
    evaluate(segmenter, davis2016(tiny_davis), tmp_path / "out", probabilities=True)
    assert "saliency" in hold(tmp_path / "out" / "scores.json")
    assert hold(tmp_path / "out" / "evaluation.json")["frames"] == 8


def test_an_export(exported: Callable[[str], Path]) -> None:
    assert not hold(exported("openvino") / "export.json")["int8"]


def test_a_prediction(tmp_path: Path, run: Callable[..., Any]) -> None:
    from adnet.predict import main

    video = write_video(tmp_path / "video.mp4", pictures(3))
    ended = run(main, f"input={video}", "rle=true", "polygons=true", "size=[65,113]", f"output={tmp_path / 'out'}")
    assert ended.code == 0, ended.err
    assert hold(tmp_path / "out" / "predict.json")["videos"]["video"]["frames"] == 3
    for name in ("rle", "polygons"):
        assert len(COCO(tmp_path / "out" / f"{name}.json").imgs) == 3


@pytest.mark.slow
def test_a_training(tiny_davis: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    from adnet.train import main

    words = ("scale=smoke", "steps=2", "model.encoder.pretrained=false", "trainer.accelerator=cpu", "pairs.workers=0")
    ended = run(main, *words, f"data.root={tiny_davis}", f"hydra.run.dir={tmp_path / 'run'}", "test_at_start=true")
    assert ended.code == 0, ended.err
    assert hold(tmp_path / "run" / "summary.json")["steps"] == 2
    hold(tmp_path / "run" / "provenance.json")
