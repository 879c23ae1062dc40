"""The notebook does what it says, and lies in git without what came of that."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from IPython.utils.text import FullEvalFormatter

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "quickstart.ipynb"


def test_outputs_are_stripped() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.slow
def test_it_runs(run: Callable[..., Any], capfd: pytest.CaptureFixture[str]) -> None:
    """Cell by cell as in a kernel, but in this process, in which the commands of its shell lines are run, too."""
    from matplotlib import pyplot

    names: dict[str, Any] = {"__name__": "__main__"}
    said: list[str] = []

    def system(line: str) -> None:
        executable, dash_m, module, *words = shlex.split(FullEvalFormatter().vformat(line, (), names))
        assert (executable, dash_m) == (sys.executable, "-m")
        ended = run(import_module(module).main, *words)
        assert ended.code == 0, ended.err
        said.append(ended.out + ended.err)

    names["get_ipython"] = lambda: SimpleNamespace(system=system)
    pyplot.close("all")
    for cell in nbformat.read(NOTEBOOK, as_version=4).cells:
        if cell.cell_type == "code":
            source = cell.source.replace("steps=20 epoch_steps=20", "steps=2 epoch_steps=2")
            source = source.replace("train=6", "train=2").replace("frames=6", "frames=3")
            exec(compile(TransformerManager().transform_cell(source), cell.id, "exec"), names)
            said.append(capfd.readouterr().out)
    text = "".join(said)
    assert "new: none; missing: none; unused: none" in text  # the released weights are of the network that is trained
    assert "2 steps in" in text
    assert "after    J" in text
    assert len(pyplot.get_fignums()) == 3
    pyplot.close("all")
    assert len(list(Path("masks/masks").glob("*.png"))) == 3
