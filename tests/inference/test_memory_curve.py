from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("way", ["file", "live", "postprocess", "flow_folder", "resumed"])
def test_it_measures_each_frame(tmp_path: Path, way: str) -> None:
    curve = runpy.run_path(str(Path(__file__).with_name("memory_curve.py")))["memory_curve"](tmp_path, 6, way)
    assert len(curve) == 6
    assert min(curve) > 0
