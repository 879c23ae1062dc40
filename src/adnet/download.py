"""Download a benchmark: `python -m adnet.download data=davis2016|fbms [data.root=DIR] [url=...] [verify=false]`.

Resumes an interrupted download; checks a dataset that exists already. For one without a public address, it says where to get it.
"""

import os
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from pkgutil import resolve_name
from urllib.parse import urlsplit

from omegaconf import DictConfig
from tqdm import tqdm

from adnet.data.known_dataset import DATASETS, KnownDataset
from adnet.data.videos import VideoDataset, fingerprint, images_or_sequences
from adnet.errors import UserError
from adnet.shared.command import command
from adnet.shared.fetch import fetch
from adnet.shared.files import draft_of
from adnet.shared.locks import one_at_a_time


@command("download")
def main(cfg: DictConfig) -> None:
    known, root = resolve_name(cfg.data._target_), Path(cfg.data.root)
    for split, dataset in download(known, root, cfg.url, cfg.verify).items():
        content = fingerprint(dataset)
        number, frames = len(content["sequences"]), content["frames"]
        kind = images_or_sequences(number, frames)
        print(f"{dataset.name} {split}: {number} {kind}, {frames} frames, annotations {content['sha256']}")
    print(root)


def download(known: KnownDataset, root: Path, url: str | None = None, verify: bool = True) -> dict[str, VideoDataset]:
    """Download a dataset to `root`, unless it is there, and check it; return its splits.

    Unpacked and checked beside `root`, it is then renamed to it. `verify=False` accepts others than the official
    release. Raises UserError for what can't be downloaded, for an archive of something else, and as `fetch` and
    `extract` do.
    """
    if not known.page:
        others = ", ".join(name for name, other in DATASETS.items() if other.page)
        raise UserError(f"nothing to download for data={known.name}; choose from {others}")
    if root.is_dir() and any(root.iterdir()):
        try:
            return _checked(known, root, verify)
        except UserError as error:
            said = f"{root} already exists and isn't {known.name} ({error})"
            raise UserError(f"{said}; give another data.root, or move it") from error
    url = url or known.url
    if url is None:
        raise UserError(f"{known.name}: {known.page}; then put it at {root}, or give url=...")
    with one_at_a_time(root.parent / f".{root.name}.lock"):  # of several processes, one downloads it for all
        if not (root.is_dir() and any(root.iterdir())):
            _fetch(known, root, url, verify)
    return _checked(known, root, verify=False)


def _fetch(known: KnownDataset, root: Path, url: str, verify: bool) -> None:
    archive = fetch(url, root.parent / (Path(urlsplit(url).path).name or f"{known.name}.zip"))
    with draft_of(root) as staging:
        unpacked = staging / "unpacked"
        try:
            extract(archive, unpacked)
            tops = [path.parent for path in unpacked.rglob(known.top) if path.is_dir()]
            if not tops:
                raise UserError(f"there is no folder {known.top!r} in it")
            found = min(tops, key=lambda path: len(path.parts))  # archives have one or two levels above it
            _checked(known, found, verify)
        except UserError as error:
            archive.unlink()  # so that the next attempt downloads it anew
            reason = str(error).replace(str(staging), "")
            raise UserError(f"{url} was not what it should be, and was removed: {reason}") from error
        if root.is_dir():
            root.rmdir()
        os.replace(found, root)
    archive.unlink()


def _checked(known: KnownDataset, root: Path, verify: bool) -> dict[str, VideoDataset]:
    datasets = {split: known(root, split) for split, content in known.splits.items() if content.required}
    for split, dataset in datasets.items():
        content, found = known.splits[split], fingerprint(dataset)
        found["sequences"] = len(found["sequences"])
        for what in ("sequences", "frames", "sha256"):
            expected = getattr(content, what)
            if verify and expected is not None and found[what] != expected:
                kind = images_or_sequences(found["sequences"], found["frames"]) if what == "sequences" else what
                differs = f"{kind} {found[what]}, expected {expected}"
                raise UserError(f"{split} is not the official release: {differs} (verify=false accepts it)")
    return datasets


def extract(archive: Path, folder: Path) -> None:
    """Unpack a ZIP file into `folder`, which is created, if all of its names are inside.

    Raises UserError for a path out of the folder, a link, a damaged file or no ZIP, and a disk with too little room.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = file.infolist()
            for member in members:
                # `filename` is cut at a null byte and has its slashes normalised; `orig_filename` is what the archive says.
                name = member.orig_filename
                paths = PurePosixPath(name.replace("\\", "/")), PureWindowsPath(name)
                if "\0" in name or any(path.is_absolute() or path.drive or ".." in path.parts for path in paths):
                    raise UserError(f"{archive} is refused: it would write to {name!r}, outside its folder")
                if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    raise UserError(f"{archive} is refused: {name!r} in it is a link or a device, not a file")
            folder.mkdir(parents=True, exist_ok=True)
            needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
            if needed > free:
                room = f"{folder.parent} has {free / 1e9:.1f} GB left"
                raise UserError(f"{archive} unpacks to {needed / 1e9:.1f} GB and {room}: make room")
            for member in tqdm(members, desc="unpacking", unit="file", leave=False, disable=None):
                file.extract(member, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, FileExistsError) as error:
        raise UserError(f"{archive} is not a complete ZIP file ({error}); remove it and download it again") from error


if __name__ == "__main__":
    main()
