"""What runs where there is neither `fcntl` nor most of the signals: scores, masks for a video, the report."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import signal, sys
sys.modules["fcntl"] = sys.modules["resource"] = sys.modules["pwd"] = None
for name in ("SIGPIPE", "SIGUSR1", "SIGUSR2", "SIGKILL", "SIGHUP"):
    delattr(signal, name)
import adnet.score, adnet.predict, adnet.evaluate, adnet.report.__main__
"""


def test_imports_without_what_windows_lacks() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
