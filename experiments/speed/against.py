"""Compare the frames per second of `predict` with those of another checkout, in turns.

python experiments/speed/against.py CHECKOUT WARM_UP FRAMES [ROUNDS] [BACKEND ...]

CHECKOUT is a clone of this repository at the commit to compare with; the same Python runs both. WARM_UP and FRAMES are folders of
JPEGs of one size: the first is segmented before, so that loading and compiling the network is not counted. Each round (5) runs
both once with each backend (openvino_int8 and torch), from JPEG to PNG. A round before them, in which networks are exported, does
not count. Prints medians, the median ratio of the rounds, and the share of pixels whose masks differ.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from adnet.data import read_mask
from adnet.shared.files import read_json

HERE = Path(__file__).resolve().parents[2]


def frames_per_second(checkout: Path, folders: list[Path], backend: str, scratch: Path) -> float:
    """Run `predict` in a process of its own, and return the rate of the last folder."""
    given = ",".join(f"'{folder}'" for folder in folders)
    command = [
        f"input=[{given}]",
        f"output={scratch / 'out'}",
        "overwrite=true",
        f"backend={backend}",
        "flow.cache=null",
        "protocol=single_scale",  # the default at the time; by now it is refined, which is one filter more
    ]
    environment = {"PYTHONPATH": str(checkout / "src"), "ADNET_CACHE": str(scratch / "cache")}
    subprocess.run([sys.executable, "-m", "adnet.predict", *command], env=os.environ | environment, check=True)
    done = read_json(scratch / "out" / "predict.json")["videos"][folders[-1].name]
    return float(done["frames"] / done["seconds"])


def differing(folders: Iterable[Path]) -> float:
    """Return the share of pixels that differ between the masks of two folders."""
    pairs = zip(*(sorted(folder.glob("*.png")) for folder in folders), strict=True)
    return float(np.mean([np.mean(read_mask(mask) != read_mask(other)) for mask, other in pairs]))


def main(checkout: str, warm_up: str, frames: str, rounds: str = "5", *backends: str) -> None:
    """Print a line of a table for each backend."""
    folders = [Path(warm_up).resolve(), Path(frames).resolve()]
    lines = ["| backend | frames/s | before | ratio | pixels differing |", "| --- | --: | --: | --: | --: |"]
    with TemporaryDirectory() as folder:
        both = {HERE: Path(folder, "now"), Path(checkout).resolve(): Path(folder, "before")}
        for backend in backends or ("openvino_int8", "torch"):
            measured = [
                [frames_per_second(path, folders, backend, scratch) for path, scratch in both.items()]
                for _ in range(int(rounds) + 1)
            ][1:]
            now, before = map(median, zip(*measured, strict=True))
            ratio = median(new / old for new, old in measured)
            share = differing(scratch / "out" / folders[-1].name / "masks" for scratch in both.values())
            lines.append(f"| `{backend}` | {now:.1f} | {before:.1f} | {ratio:.2f} | {share:.3%} |")
    print(*lines, sep="\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
