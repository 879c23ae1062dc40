"""Copy any dataset into the layout of one's own videos, which `data=folder` reads."""

from __future__ import annotations

import shutil
from pathlib import Path

from tqdm import tqdm

from adnet.data.masks import write_mask
from adnet.data.sequence import VideoDataset
from adnet.errors import UserError
from adnet.shared.files import new_folder, write_text


def copy_dataset(dataset: VideoDataset, output: Path) -> None:
    """Write `output/frames/<sequence>/`, copies of the frames, `output/masks/<sequence>/<frame>.png`, 0 and 255, and `output/<split>.txt`.

    A `/` in a sequence's name becomes `-`. Atomic. Raises UserError if `output` is there already, and not an empty folder.
    """
    if output.exists() and (output.is_file() or any(output.iterdir())):
        raise UserError(f"{output} is there already; give another output")
    names = [sequence.name.replace("/", "-") for sequence in dataset.sequences]
    if len({*names}) < len(names):
        raise UserError(f"{dataset.name} {dataset.split} has sequences whose names differ in / and - alone: rename one")
    with new_folder(output) as draft:
        pairs = zip(names, dataset.sequences, strict=True)
        for name, sequence in tqdm(pairs, "sequences", len(names), leave=False, disable=None):
            (draft / "frames" / name).mkdir(parents=True)
            for frame in sequence.frames:
                shutil.copyfile(frame, draft / "frames" / name / frame.name)
                if frame.stem in sequence.annotations:
                    write_mask(draft / "masks" / name / f"{frame.stem}.png", sequence.annotation(frame))
        if dataset.split != "all":
            write_text(draft / f"{dataset.split}.txt", "\n".join(names) + "\n")
