"""An output folder belongs to one run: it is resumed by the same and refused to any other."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from adnet.data.flow import OpticalFlow
from adnet.errors import UserError
from adnet.files import write_json


def claim(
    marker: Path, kind: str, described: Mapping[str, Any], overwrite: bool, replaced: Iterable[Path]
) -> dict[str, Any]:
    """Make the folder of `marker` (`evaluation.json`) that of a run; what the marker said before, if of the same run.

    `kind` is what a run is called; `described` is what tells runs apart. With `overwrite` another run's folder is taken:
    `replaced`, the files and folders in it that this run will write, are deleted first, so that none of another run is ever
    taken for one of this. Raises UserError if the folder is another run's, or not empty.
    """
    folder = marker.parent
    if overwrite:
        for path in replaced:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    elif marker.is_file():
        earlier: dict[str, Any] = json.loads(marker.read_text())
        # What these were before there was a choice.
        usual = {"backend": "torch", "postprocess": None, "flow": repr(OpticalFlow())}
        if {key: (usual | earlier).get(key) for key in described} == described:
            return earlier
        raise UserError(f"{folder} holds another {kind}; give another output, or overwrite=true")
    elif folder.is_dir() and any(folder.iterdir()):
        raise UserError(f"{folder} is not empty and holds no {kind}; give another output, or overwrite=true")
    write_json(marker, described)
    return {}


def checkpoint_sha256(checkpoint: Path) -> str:
    """Of a checkpoint's file; of an export's folder that of its `export.json`, which says what it was made of."""
    return hashlib.sha256((checkpoint / "export.json" if checkpoint.is_dir() else checkpoint).read_bytes()).hexdigest()
