"""What runs where there is neither `fcntl` nor most of the signals: scores, masks for a video, the report."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import signal, sys
sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["pwd"] = None
for name in ("SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGHUP"):
    delattr(signal, name)
import adnet.{module}
"""


@pytest.mark.parametrize("module", ["score", "predict", "evaluate", "report.__main__"])
def test_imports_without_what_windows_lacks(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(module=module)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
