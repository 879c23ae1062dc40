"""The notebook runs as a reader would run it, and lies in git without what came of that."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[1] / "notebooks" / "quickstart.ipynb"


def test_outputs_are_stripped() -> None:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    code = [cell for cell in cells if cell.cell_type == "code"]
    assert code
    assert all(cell.outputs == [] and cell.execution_count is None for cell in code)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    (training,) = (cell for cell in notebook.cells if "steps=20 epoch_steps=20" in cell.source)
    training.source = training.source.replace("steps=20 epoch_steps=20", "steps=2 epoch_steps=2")
    for cell in notebook.cells:
        cell.source = cell.source.replace("train=6", "train=2").replace("frames=6", "frames=3")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.get("text", "") for output in outputs)
    assert "Traceback" not in said
    assert "new: none; missing: none; unused: none" in said  # the released weights are of the network that is trained
    assert "after    J" in said
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert len(list((tmp_path / "masks" / "masks").glob("*.png"))) == 3
