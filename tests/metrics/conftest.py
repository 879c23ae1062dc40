import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from adnet.data.masks import write_mask
from adnet.data.videos import Video, VideoDataset, all_but_first_and_last

LENGTHS = {"bear": 6, "boat": 4}


def blob(seed):
    mask = np.zeros((24, 40), bool)
    mask[seed % 7 : 15, 3 + seed : 30] = True
    return mask


def dataset_in(root, scored=all_but_first_and_last, sparse=False):
    sequences = []
    for offset, (name, length) in enumerate(LENGTHS.items()):
        frames = tuple(root / "frames" / name / f"{i:05d}.jpg" for i in range(length))
        annotated = frames[::2] if sparse else frames
        paths = {frame.stem: root / "annotations" / name / f"{frame.stem}.png" for frame in annotated}
        for i, path in enumerate(paths.values()):
            write_mask(path, blob(i + offset))
        sequences.append(Video(name, frames, paths))
    return VideoDataset("toy", "val", root, tuple(sequences), scored)


def _folder(path: Path | None, reason: str) -> Path:
    if path is None or not path.is_dir():
        pytest.skip(reason)
    return path


@pytest.fixture(scope="session")
def davis() -> Path:
    """DAVIS-2016 on disk."""
    data = os.environ.get("ADNET_DATA")
    return _folder(Path(data) / "DAVIS" if data else None, "needs DAVIS in $ADNET_DATA/DAVIS")


@pytest.fixture(scope="session")
def reference() -> Path:
    """Masks of a published method, and what the public tools say of them."""
    given, data = os.environ.get("ADNET_REFERENCE"), os.environ.get("ADNET_DATA")
    path = Path(given) if given else Path(data).resolve().parent / "reference" if data else None
    return _folder(path, "needs the reference numbers in $ADNET_REFERENCE or $ADNET_DATA/../reference")


@pytest.fixture
def dataset(tmp_path):
    return dataset_in(tmp_path)


@pytest.fixture
def predictions(dataset, tmp_path):
    folder = tmp_path / "masks"
    for sequence in dataset.sequences:
        for i, frame in enumerate(sequence.frames):
            write_mask(folder / sequence.name / f"{frame.stem}.png", np.roll(blob(i), i, axis=1))
    return folder


@pytest.fixture(scope="session")
def toy():
    """What the datasets and predictions of these tests are made by."""
    return SimpleNamespace(LENGTHS=LENGTHS, blob=blob, dataset_in=dataset_in)
