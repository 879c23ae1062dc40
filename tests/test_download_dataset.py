from __future__ import annotations

import errno
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from adnet import download as module
from adnet.data import davis2016, synthetic, visal
from adnet.data.known_dataset import Split
from adnet.data.videos import fingerprint
from adnet.download import download
from adnet.errors import UserError

ZIP = "http://localhost/data.zip"


@pytest.fixture
def archive(tiny_davis: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tiny_davis` as an archive with two folders above it, its source, and a network that has it."""
    shutil.copytree(tiny_davis, tmp_path / "packed" / "release" / "DAVIS")
    path = Path(shutil.make_archive(str(tmp_path / "archive"), "zip", tmp_path / "packed"))
    content = fingerprint(davis2016(tiny_davis, "val"))
    monkeypatch.setattr(davis2016, "splits", {"val": Split(2, frames=content["frames"], sha256=content["sha256"])})
    monkeypatch.setattr(davis2016, "url", ZIP)

    def fetch(url: str, target: Path) -> Path:
        assert url in (ZIP, "http://mirror/other.zip?x=1")
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copy(path, target))

    monkeypatch.setattr(module, "fetch", fetch)
    return path


def test_a_dataset_is_unpacked_checked_and_put_at_its_root(archive: Path, tmp_path: Path) -> None:
    root = tmp_path / "data" / "DAVIS"
    splits = download(davis2016, root)
    assert [len(splits["val"].sequences), splits["val"].root] == [2, root]
    left = sorted(path.name for path in root.parent.iterdir())
    assert left == [".DAVIS.lock", "DAVIS"]  # neither the archive nor the staging folder
    assert (root.stat().st_mode & 0o777) == 0o755
    archive.unlink()
    assert download(davis2016, root)["val"].root == root  # checked, not fetched again


def test_a_disk_that_gets_full_is_told_by_the_dataset(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by a file in the staging folder, which is gone."""

    def full(_: Path, folder: Path) -> None:
        folder.mkdir()
        raise OSError(errno.ENOSPC, "No space left on device")

    assert archive.is_file()
    monkeypatch.setattr(module, "extract", full)
    root = tmp_path / "data" / "DAVIS"
    with pytest.raises(OSError, match=f"No space left on device: '{root}'"):
        download(davis2016, root)
    assert sorted(path.name for path in root.parent.iterdir()) == [".DAVIS.lock", "data.zip"]


def test_of_two_at_once_one_fetches(archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert archive.is_file()
    fetched, fetch = [], module.fetch

    def slowly(url: str, target: Path) -> Path:
        fetched.append(url)
        time.sleep(0.3)
        return fetch(url, target)

    monkeypatch.setattr(module, "fetch", slowly)
    root = tmp_path / "data" / "DAVIS"
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: download(davis2016, root)["val"].root, range(2)))
    assert (found, fetched) == ([root, root], [ZIP])


def test_an_empty_root_is_taken_and_another_address_too(archive: Path, tmp_path: Path) -> None:
    assert archive.is_file()
    root = tmp_path / "DAVIS"
    root.mkdir()
    download(davis2016, root, "http://mirror/other.zip?x=1")
    assert (root / "ImageSets").is_dir()


def test_another_release_is_refused_unless_asked_for(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert archive.is_file()
    monkeypatch.setattr(davis2016, "splits", {"val": Split(2, frames=8, sha256="0" * 64)})
    root = tmp_path / "data" / "DAVIS"
    with pytest.raises(UserError, match=r"val is not the official release: sha256 .*verify=false"):
        download(davis2016, root)
    assert [path.name for path in root.parent.iterdir()] == [".DAVIS.lock"]
    download(davis2016, root, verify=False)
    with pytest.raises(UserError, match="already exists and isn't davis2016"):
        download(davis2016, root)
    assert (root / "ImageSets").is_dir()


@pytest.mark.parametrize("what", ["damaged", "other", "incomplete", "hostile"])
def test_a_wrong_archive_leaves_nothing(archive: Path, tmp_path: Path, what: str) -> None:
    packed = tmp_path / "packed"
    if what == "damaged":
        archive.write_bytes(archive.read_bytes()[:-100])
    elif what == "hostile":
        name = b"release/DAVIS/ImageSets/480p/val.txt"
        archive.write_bytes(archive.read_bytes().replace(name, b"../" * 5 + name[15:]))
    else:
        shutil.rmtree(packed / "release" / "DAVIS" / ("ImageSets" if what == "other" else "Annotations"))
        shutil.make_archive(str(archive.with_suffix("")), "zip", packed)
    root = tmp_path / "data" / "DAVIS"
    with pytest.raises(UserError) as error:
        download(davis2016, root)
    assert str(error.value).startswith(ZIP)
    assert "\n" not in str(error.value)
    assert [path.name for path in root.parent.iterdir()] == [".DAVIS.lock"]


def test_what_is_there_is_never_replaced(archive: Path, tmp_path: Path) -> None:
    assert archive.is_file()
    root = tmp_path / "DAVIS"
    root.mkdir()
    (root / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="already exists and isn't davis2016"):
        download(davis2016, root)
    assert [path.name for path in root.iterdir()] == ["notes.txt"]


def test_what_cannot_be_downloaded(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="visal: no public address; ask its authors"):
        download(visal, tmp_path / "ViSal")
    with pytest.raises(
        UserError, match="nothing to download for data=synthetic; choose from davis2016, davis2017, fbms, visal"
    ):
        download(synthetic, tmp_path / "synthetic")


def test_the_table_knows_the_real_davis(davis_root: Path) -> None:
    found = fingerprint(davis2016(davis_root, "val"))
    split = Split(len(found["sequences"]), frames=found["frames"], sha256=found["sha256"])
    assert davis2016.splits["val"] == split
