"""Archives from elsewhere, unpacked so that nothing is written outside of the folder."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath, PureWindowsPath

from tqdm import tqdm

from adnet.errors import UserError


def extract(archive: Path, folder: Path) -> None:
    """Unpack a ZIP file into `folder`, which is made.

    All names are looked at before anything is written. Raises UserError for a path that is absolute or leads out of the
    folder, for a link, for a file that is no ZIP or is damaged, and where the disk has too little room.
    """
    try:
        with zipfile.ZipFile(archive) as file:
            members = file.infolist()
            for member in members:
                _check(archive, member)
            folder.mkdir(parents=True, exist_ok=True)
            needed, free = sum(member.file_size for member in members), shutil.disk_usage(folder).free
            if needed > free:
                raise UserError(
                    f"{archive} unpacks to {needed / 1e9:.1f} GB and {folder.parent} has {free / 1e9:.1f} GB left: make room"
                )
            for member in tqdm(members, desc="unpacking", unit="file", leave=False, disable=None):
                file.extract(member, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, FileExistsError) as error:
        raise UserError(f"{archive} is no whole ZIP file ({error}); remove it and download it again") from error


def _check(archive: Path, member: zipfile.ZipInfo) -> None:
    # `filename` is cut at a null byte and has its slashes turned; `orig_filename` is what lies in the archive.
    name = member.orig_filename
    paths = PurePosixPath(name.replace("\\", "/")), PureWindowsPath(name)
    if "\0" in name or any(path.is_absolute() or path.drive or ".." in path.parts for path in paths):
        raise UserError(f"{archive} is refused: it would write to {name!r}, outside of its folder")
    if stat.S_IFMT(member.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise UserError(f"{archive} is refused: {name!r} in it is a link or a device, not a file")
