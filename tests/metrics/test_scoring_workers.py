import os
import subprocess
import sys
from pathlib import Path

import pytest

from adnet.metrics.scoring import map_in_workers

SCRIPT = """
import sys, sysconfig
print("run")
from adnet.metrics.scoring import score_dataset  # what a worker imports
from adnet.metrics.scoring import map_in_workers
print(list(map_in_workers(sys.intern, ["a", "b", "c"], 2)))
print(set(map_in_workers(sys.modules.__contains__, ["torch", "hydra"], 1)))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    items = list(range(-20, 20))
    assert list(map_in_workers(abs, items, workers)) == [abs(item) for item in items]


def test_work_is_shared_by_processes():
    assert os.getpid() not in set(map_in_workers(_pid, [0, 1], 2))
    assert set(map_in_workers(_pid, [0, 1], 1)) == {os.getpid()}
    assert set(map_in_workers(_pid, [0], 2)) == {os.getpid()}  # not worth a process


def _pid(_):
    return os.getpid()


def test_an_error_comes_through():
    with pytest.raises(ValueError, match="invalid literal"):
        list(map_in_workers(int, ["1", "x", "2"], 2))


def test_a_script_is_not_run_again_and_nothing_heavy_is_imported(tmp_path: Path):
    script = tmp_path / "script.py"  # no `if __name__ == "__main__":`
    script.write_text(SCRIPT)
    ended = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=False)
    assert ended.stdout.splitlines() == ["run", "['a', 'b', 'c']", "{False}"], ended.stderr
