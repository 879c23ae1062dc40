"""Compare the frames per second of `predict` with those of another checkout, in turns.

python experiments/speed/against.py CHECKOUT FRAMES [ROUNDS] [BACKEND ...]

CHECKOUT is a clone of this repository at the commit to compare with; the same Python runs both. FRAMES is a folder of JPEGs, such
as DAVIS/JPEGImages/480p/bmx-trees. Each round (5) runs both once with each backend (openvino_int8 and torch), from JPEG to PNG,
the network's export and loading not counted; the first, which exports, does not count. Prints medians, the median ratio of the
rounds, and the share of pixels whose masks differ.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from adnet.data import read_mask

HERE = Path(__file__).resolve().parents[2]


def frames_per_second(checkout: Path, frames: str, backend: str, scratch: Path) -> float:
    """Run `predict` in a process of its own; its masks lie in `scratch/masks`."""
    command = ["-m", "adnet.predict", f"input={frames}", f"output={scratch / 'out'}", "overwrite=true"]
    environment = {"PYTHONPATH": str(checkout / "src"), "ADNET_CACHE": str(scratch / "cache")}
    ended = subprocess.run(
        [sys.executable, *command, f"backend={backend}", "flow.cache=null"],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    number, seconds = re.findall(r"(\d+) now, in ([\d.]+) s", ended.stdout)[0]
    return int(number) / float(seconds)


def differing(*scratches: Path) -> float:
    """Return the share of pixels whose masks differ."""
    names = sorted(path.name for path in (scratches[0] / "out" / "masks").iterdir())
    masks = ([read_mask(scratch / "out" / "masks" / name) for name in names] for scratch in scratches)
    return float(np.mean([np.mean(mask != other) for mask, other in zip(*masks, strict=True)]))


def main(checkout: str, frames: str, rounds: str = "5", *backends: str) -> None:
    """Print a line of a table for each backend."""
    print("| backend | frames/s | before | ratio | pixels differing |\n| --- | --: | --: | --: | --: |")
    with TemporaryDirectory() as folder:
        both = {HERE: Path(folder, "now"), Path(checkout).resolve(): Path(folder, "before")}
        for backend in backends or ("openvino_int8", "torch"):
            measured = [
                [frames_per_second(path, frames, backend, scratch) for path, scratch in both.items()]
                for _ in range(int(rounds) + 1)
            ][1:]
            now, before = map(median, zip(*measured, strict=True))
            ratio = median(new / old for new, old in measured)
            print(
                f"| `{backend}` | {now:.1f} | {before:.1f} | {ratio:.2f} | {differing(*both.values()):.3%} |",
                flush=True,
            )


if __name__ == "__main__":
    main(*sys.argv[1:])
