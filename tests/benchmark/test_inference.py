from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adnet.benchmark.__main__ import main


@pytest.mark.slow
def test_it_prints_and_returns_what_it_measured(run: Callable[..., Any], tiny_davis: Path, tmp_path: Path) -> None:
    small = [
        "inference.size=[65,113]",
        "inference.frames=2",
        "inference.backends=[torch]",
    ]
    output = tmp_path / "speed.json"
    kinds = "inference.precisions=[fp32,bf16]"
    ended = run(main, "what=inference", f"data.root={tiny_davis}", f"output={output}", kinds, *small)
    assert ended.code == 0, ended.err
    for word in ("times_torch", "decode", "fusion", "post-process", "GFLOP/s", "Titan X"):
        assert word in ended.out
    result = json.loads(output.read_text())
    assert set(result["ways"]) == {"torch", "torch bf16"}
    assert result["device"] == "cpu"
    assert set(result["precisions_matmul_gflops_per_second"]) == {"fp32", "bf16"}
    assert result["ways"]["torch bf16"]["precision"] == "bf16"
    assert all(way["share_of_matmul_peak"] > 0 for way in result["ways"].values())
    torch_way = result["ways"]["torch"]
    assert torch_way["overlapped_frames_per_second"] > 0
    assert torch_way["overlapped_memory_mib"] >= 0
    assert torch_way["seconds"]["frame"] == pytest.approx(
        sum(seconds for stage, seconds in torch_way["seconds"].items() if stage != "frame")
    )
    assert (torch_way["times_torch"], torch_way["pixels_differing"]) == (1, 0)

    refused = run(main, "what=inference", f"data.root={tiny_davis}", "inference.precisions=[tf32]", *small)
    assert (refused.code, "only NVIDIA's GPUs" in refused.err) == (1, True)
    ended = run(main, "what=inference", f"data.root={tiny_davis}", *small[:-1], "inference.backends=[tensorrt]")
    assert ended.code == 1
    assert "tensorrt" in ended.err
