from __future__ import annotations

import json
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adnet.errors import UserError
from adnet.inference.output_folder import Shard


@given(st.lists(st.integers(), max_size=20), st.integers(1, 6))
def test_each_video_is_of_one_shard(videos: list[int], count: int) -> None:
    dealt = [Shard(index, count).part_of(videos) for index in range(count)]
    assert sorted(chain.from_iterable(dealt)) == sorted(videos)
    assert max(map(len, dealt)) - min(map(len, dealt)) <= 1


@pytest.mark.parametrize(("index", "count"), [(2, 2), (-1, 2), (0, 0)])
def test_a_shard_that_there_isn_t(index: int, count: int) -> None:
    with pytest.raises(UserError, match=f"shard={index}: with shards={count}, "):
        Shard(index, count)


@pytest.fixture
def checkpoint(tiny_model: Any, tiny_model_config: dict[str, Any], tmp_path: Path) -> Path:
    state = {f"model.{name}": value for name, value in tiny_model.state_dict().items()}
    torch.save(
        {"state_dict": state, "hyper_parameters": {"model": tiny_model_config, "test_size": [33, 57]}},
        tmp_path / "tiny.ckpt",
    )
    return tmp_path / "tiny.ckpt"


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_shards_leave_what_one_process_leaves(
    run: Callable[..., Any], checkpoint: Path, tiny_davis: Path, tmp_path: Path
) -> None:
    from adnet import evaluate

    common = (
        f"checkpoint={checkpoint}",
        f"data.root={tiny_davis}",
        "protocol=single_scale",
        "device=cpu",
        "probabilities=true",
    )
    assert run(evaluate.main, *common, f"output={tmp_path}/whole").code == 0
    first = run(evaluate.main, *common, f"output={tmp_path}/dealt", "shard=0", "shards=2")
    assert "shard 0 of 2 is done, others are not" in first.out
    assert not (tmp_path / "dealt" / "scores.json").exists()
    assert {path.name for path in (tmp_path / "dealt" / "masks").iterdir()} == {"val-000"}
    last = run(evaluate.main, *common, f"output={tmp_path}/dealt", "shard=1", "shards=2")
    assert last.code == 0, last.err
    assert "J " in last.out
    whole, dealt = (files(tmp_path / name) for name in ("whole", "dealt"))
    described = [json.loads(made.pop("evaluation.json")) for made in (whole, dealt)]
    assert whole == dealt
    assert {key: value for key, value in described[0].items() if key not in ("frames", "seconds")} == {
        key: value for key, value in described[1].items() if key not in ("frames", "seconds")
    }
    refused = run(evaluate.main, *common, f"output={tmp_path}/dealt", "shards=2", "overwrite=true")
    assert (refused.code, "shards would delete each other's results" in refused.err) == (1, True)


def test_shards_of_predictions(run: Callable[..., Any], checkpoint: Path, tiny_davis: Path, tmp_path: Path) -> None:
    from adnet import predict

    videos = sorted((tiny_davis / "JPEGImages" / "480p").glob("val-*"))
    common = (f"checkpoint={checkpoint}", f"input=[{','.join(map(str, videos))}]", "device=cpu")
    assert run(predict.main, *common, f"output={tmp_path}/whole").code == 0
    for shard in (1, 0):
        ended = run(predict.main, *common, f"output={tmp_path}/dealt", f"shard={shard}", "shards=2")
        assert ended.code == 0, ended.err
        assert ended.out.count(" frames, ") == 1
    whole, dealt = (files(tmp_path / name) for name in ("whole", "dealt"))
    markers = [json.loads(made.pop("predict.json")) for made in (whole, dealt)]
    assert whole == dealt
    assert {video.name for video in videos} == set(markers[0]["videos"]) == set(markers[1]["videos"])
