from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_it_measures_each_frame(tmp_path: Path) -> None:
    curve = runpy.run_path(str(Path(__file__).with_name("memory_curve.py")))["memory_curve"](tmp_path, 6)
    assert len(curve) == 6
    assert min(curve) > 0
