"""Download the benchmarks: where their archives are, what must be in them, and how they are unpacked safely."""

from __future__ import annotations

import os
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from tempfile import mkdtemp
from urllib.parse import urlsplit

from tqdm import tqdm

from adnet.data.sequence import VideoDataset, fingerprint
from adnet.errors import UserError
from adnet.shared.fetch import fetch
from adnet.shared.locks import one_at_a_time

Load = Callable[[Path, str], VideoDataset]
"""(root, split) -> dataset, checked."""


@dataclass(frozen=True)
class Content:
    """What a split holds; `frames` and `sha256` are as in `fingerprint`, or None where we had no copy to look at."""

    sequences: int
    frames: int | None = None
    sha256: str | None = None


@dataclass(frozen=True)
class Source:
    """Where a dataset comes from.

    `url` is that of its ZIP file (None: `page` says how to get it), `top` a folder that lies in its root.
    """

    url: str | None
    top: str
    splits: Mapping[str, Content]
    page: str


# The fingerprints cover the annotations of the official 480p release, not its frames.
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
        None, "train", {"train": Content(3471)}, "take train from https://youtube-vos.org (login required)"
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
    """Download the dataset `name` to `root`, unless it is there, and check it; return its splits.

    The archive is fetched to beside `root` (and resumed if it was cut off), unpacked there, checked, and finally renamed to
    `root`; then the archive is removed. `load` reads and checks a split. `verify=False` skips the comparison with the
    official release.

    Raises UserError for a dataset that can't be downloaded, for an archive of something else, and as `fetch` and `extract`
    do.
    """
    if name not in SOURCES:
        raise UserError(f"nothing to download for data={name}; choose from {', '.join(SOURCES)}")
    source = SOURCES[name]
    if root.is_dir() and any(root.iterdir()):
        try:
            return _checked(source, root, load, verify)
        except UserError as error:
            raise UserError(
                f"{root} already exists and isn't {name} ({error}); give another data.root, or move it"
            ) from error
    url = url or source.url
    if url is None:
        raise UserError(f"{name}: {source.page}; then put it at {root}, or give url=...")
    with one_at_a_time(root.parent / f".{root.name}.lock"):  # of several processes, one downloads it for all
        if not (root.is_dir() and any(root.iterdir())):
            _fetch(name, source, root, load, url, verify)
    return _checked(source, root, load, verify=False)


def _fetch(name: str, source: Source, root: Path, load: Load, url: str, verify: bool) -> None:
    """Download and unpack the dataset to `root`, which is missing or empty."""
    archive = fetch(url, root.parent / (Path(urlsplit(url).path).name or f"{name}.zip"))
    staging = Path(mkdtemp(prefix=f".{root.name}.", dir=root.parent))
    try:
        try:
            extract(archive, staging / "unpacked")
            found = _top(staging / "unpacked", source.top)
            _checked(source, found, load, verify)
        except UserError as error:
            archive.unlink()  # so that the next attempt downloads it anew
            reason = str(error).replace(str(staging), "")
            raise UserError(f"{url} was not what it should be, and was removed: {reason}") from error
        if root.is_dir():
            root.rmdir()
        found.chmod(0o755)  # a temporary folder is accessible to its owner only
        os.replace(found, root)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    archive.unlink()


def _top(folder: Path, name: str) -> Path:
    """Find the folder that holds `name`; archives have one or two levels above it."""
    candidates = [path.parent for path in folder.rglob(name) if path.is_dir()]
    if not candidates:
        raise UserError(f"there is no folder {name!r} in it")
    return min(candidates, key=lambda path: len(path.parts))


def _checked(source: Source, root: Path, load: Load, verify: bool) -> dict[str, VideoDataset]:
    datasets = {split: load(root, split) for split in source.splits}
    for split, content in source.splits.items():
        found = fingerprint(datasets[split])
        found["sequences"] = len(found["sequences"])
        for what, expected in asdict(content).items():
            if verify and expected is not None and found[what] != expected:
                raise UserError(
                    f"{split} is not the official release: {what} {found[what]}, expected {expected} (verify=false accepts it)"
                )
    return datasets


def extract(archive: Path, folder: Path) -> None:
    """Unpack a ZIP file into `folder`, which is created.

    All names are checked before anything is written. Raises UserError for a path that is absolute or leads out of the
    folder, a link, a file that is no ZIP or is damaged, and a disk with too little room.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = file.infolist()
            for member in members:
                _check_member(archive, member)
            folder.mkdir(parents=True, exist_ok=True)
            needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
            if needed > free:
                raise UserError(
                    f"{archive} unpacks to {needed / 1e9:.1f} GB and {folder.parent} has {free / 1e9:.1f} GB left: make room"
                )
            for member in tqdm(members, desc="unpacking", unit="file", leave=False, disable=None):
                file.extract(member, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, FileExistsError) as error:
        raise UserError(f"{archive} is not a complete ZIP file ({error}); remove it and download it again") from error


def _check_member(archive: Path, member: zipfile.ZipInfo) -> None:
    # `filename` is cut at a null byte and has its slashes normalised; `orig_filename` is what the archive says.
    name = member.orig_filename
    paths = PurePosixPath(name.replace("\\", "/")), PureWindowsPath(name)
    if "\0" in name or any(path.is_absolute() or path.drive or ".." in path.parts for path in paths):
        raise UserError(f"{archive} is refused: it would write to {name!r}, outside its folder")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UserError(f"{archive} is refused: {name!r} in it is a link or a device, not a file")
