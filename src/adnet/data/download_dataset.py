"""The benchmarks' archives: where they are, and what must be in them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from urllib.parse import urlsplit

from filelock import FileLock

from adnet.data.archive import extract
from adnet.data.sequence import VideoDataset, fingerprint
from adnet.errors import UserError
from adnet.shared.fetch import fetch

Load = Callable[[Path, str], VideoDataset]
"""The dataset at a root, of a split."""


@dataclass(frozen=True)
class Content:
    """Of one split. `frames` and `sha256`, as `fingerprint` gives them, are None where we had no copy to look at."""

    sequences: int
    frames: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """Of a dataset: `url` of its ZIP file (None: `page` says how to get it), what lies at the top of its root, its splits, its page."""

    url: str | None
    top: str
    splits: Mapping[str, Content]
    page: str


# The fingerprints are over the annotations of the official 480p release; frames aren't compared.
SOURCES = {
    "davis2016": Source(
        "https://graphics.ethz.ch/Downloads/Data/Davis/DAVIS-data.zip",
        "ImageSets",
        {
            "train": Content(30, 2079, "e801ae0779bad583fa8d5a7424c42ce0bc4a6f9724c9b5a9d09433cb4816afe0"),
            "val": Content(20, 1376, "f7407ec4e3e4799a9e2f6c13a87a7619938b75fe666d494f81f11c4f60eeee67"),
        },
        "https://davischallenge.org/davis2016/code.html",
    ),
    "fbms": Source(
        "https://lmb.informatik.uni-freiburg.de/resources/datasets/fbms/FBMS_Testset.zip",
        "Testset",
        {"test": Content(30)},  # the paper, Section 5: "30 test videos"
        "https://lmb.informatik.uni-freiburg.de/resources/datasets/",
    ),
    "visal": Source(
        None,
        "GroundTruth",
        {"test": Content(17)},
        "no public address; ask its authors: Wang, Shen and Shao, 'Consistent video saliency using local gradient flow "
        "optimization and global refinement', IEEE TIP 2015; https://github.com/wenguanwang",
    ),
    "davis2017": Source(
        None,
        "ImageSets",
        {"train": Content(60), "val": Content(30)},
        "take TrainVal at 480p from https://davischallenge.org/davis2017/code.html",
    ),
    "youtube_vos": Source(
        None,
        "train",
        {"train": Content(3471)},
        "take train from https://youtube-vos.org (a login is asked for)",
    ),
    "duts": Source(
        None,
        "DUTS-TR",
        {"train": Content(10553), "test": Content(5019)},
        "take DUTS-TR and DUTS-TE from http://saliencydetection.net/duts",
    ),
    "msra10k": Source(None, "Imgs", {"train": Content(10000)}, "take it from https://mmcheng.net/msra10k"),
}


def download(name: str, root: Path, load: Load, url: str | None = None, verify: bool = True) -> dict[str, VideoDataset]:
    """Have the dataset `name` at `root`, whole and checked; its splits.

    What is there already is checked only. Else the archive is fetched to beside `root` (resumed if it was cut off), unpacked
    there, checked, and renamed to `root` last; then the archive is removed. `load` reads a split of a root, and checks what
    it finds. `verify=False` leaves out the comparison with the official release.

    Raises UserError for a dataset that can't be downloaded, for an archive that isn't this dataset, and as `fetch` and
    `extract` do.
    """
    if name not in SOURCES:
        raise UserError(f"nothing to download for data={name}; choose from {', '.join(SOURCES)}")
    source = SOURCES[name]
    if root.is_dir() and any(root.iterdir()):
        try:
            return _checked(source, root, load, verify)
        except UserError as error:
            raise UserError(
                f"{root} is there already and isn't {name} ({error}); give another data.root, or move it"
            ) from error
    url = url or source.url
    if url is None:
        raise UserError(f"{name}: {source.page}; then put it at {root}, or give url=...")
    root.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f".{root.name}.lock"):  # of several at once one fetches, and the others find it there
        if not (root.is_dir() and any(root.iterdir())):
            _fetch(name, source, root, load, url, verify)
    return _checked(source, root, load, verify=False)


def _fetch(name: str, source: Source, root: Path, load: Load, url: str, verify: bool) -> None:
    """Put the dataset at `root`, which has nothing in it."""
    archive = fetch(url, root.parent / (Path(urlsplit(url).path).name or f"{name}.zip"))
    staging = Path(mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        try:
            extract(archive, staging / "unpacked")
            found = _top(staging / "unpacked", source.top)
            _checked(source, found, load, verify)
        except UserError as error:
            # Whatever is wrong with it, the next try must not take it again.
            archive.unlink()
            raise UserError(
                f"{url} was not what it should be, and is removed: {error}".replace(str(staging), "")
            ) from error
        if root.is_dir():
            root.rmdir()
        found.chmod(0o755)  # a temporary folder's is its owner's only
        os.replace(found, root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    archive.unlink()


def _top(folder: Path, name: str) -> Path:
    """The folder that holds `name`: archives have one or two above it."""
    candidates = sorted((path.parent for path in folder.rglob(name) if path.is_dir()), key=lambda path: len(path.parts))
    if not candidates:
        raise UserError(f"there is no folder {name!r} in it")
    return candidates[0]


def _checked(source: Source, root: Path, load: Load, verify: bool) -> dict[str, VideoDataset]:
    datasets = {split: load(root, split) for split in source.splits}
    for split, content in source.splits.items():
        is_ = fingerprint(datasets[split])
        wanted = {"sequences": content.sequences, "frames": content.frames, "sha256": content.sha256}
        got = is_ | {"sequences": len(is_["sequences"])}
        for what, value in wanted.items():
            if verify and value is not None and got[what] != value:
                raise UserError(
                    f"{split} is not the official release: {what} {got[what]}, expected {value} (verify=false lets it pass)"
                )
    return datasets
