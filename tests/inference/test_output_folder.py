from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from adnet.backends.load import checkpoint_sha256
from adnet.errors import UserError
from adnet.inference.output_folder import Shard, contents, locked_output, removed_after_user_error
from adnet.shared.files import files_sha256
from adnet.shared.locks import LOCKS


def marked(marker: Path, described: dict[str, Any], overwrite: bool, replaced: list[Path]) -> dict[str, Any]:
    with locked_output(marker, "prediction", described, overwrite, replaced, Shard()) as earlier:
        return earlier


def test_a_run_that_made_nothing_holds_no_folder(tmp_path: Path) -> None:
    marker, made = tmp_path / "out" / "predict.json", tmp_path / "out" / "masks"
    assert marked(marker, {"fps": 24}, False, [made]) == {}
    assert marked(marker, {"fps": 12}, False, [made]) == {}
    assert json.loads(marker.read_text()) == {"fps": 12}
    made.mkdir()
    with pytest.raises(UserError, match="holds another prediction"):
        marked(marker, {"fps": 24}, False, [made])
    assert marked(marker, {"fps": 12}, False, [made]) == {"fps": 12}
    assert marked(marker, {"fps": 24}, True, [made]) == {}
    assert not made.exists()


@pytest.mark.skipif(not LOCKS, reason="needs locks to know whether a writer is alive")
def test_what_a_killed_run_left_half_written_is_no_result(tmp_path: Path) -> None:
    """Neither a marker, whose folder is as good as empty, nor a video's overlay, even if the next run writes none."""
    marker, overlay = tmp_path / "out" / "predict.json", tmp_path / "out" / "clip" / "overlay.mp4"
    drafts = [path.with_name(f".{path.name}.0123abcd.draft") for path in (marker, overlay)]
    marker.parent.mkdir()
    drafts[0].touch()
    assert marked(marker, {"fps": 24}, False, [overlay]) == {}
    overlay.parent.mkdir()
    for draft in drafts:
        draft.touch()
    assert marked(marker, {"fps": 24}, False, [overlay]) == {"fps": 24}
    assert sorted(path.name for path in marker.parent.rglob("*")) == ["clip", "predict.json"]


def test_a_run_that_made_other_files_keeps_its_folder(tmp_path: Path) -> None:
    """As of two videos, each in a folder of its own, when a third one alone is to be written beside them."""
    marker, made = tmp_path / "out" / "predict.json", tmp_path / "out" / "a" / "masks"
    assert marked(marker, {"input": "a"}, False, [made]) == {}
    made.mkdir(parents=True)
    with pytest.raises(UserError, match="holds another prediction"):
        marked(marker, {"input": "c"}, False, [tmp_path / "out" / "masks"])
    assert marked(marker, {"input": "a"}, False, [made]) == {"input": "a"}


def test_a_folder_is_of_one_run_at_a_time(tmp_path: Path) -> None:
    """Also before it has made anything, and of the same command, which would else come to write the same files."""
    marker = tmp_path / "out" / "predict.json"
    with locked_output(marker, "prediction", {"fps": 24}, False, [], Shard()) as earlier:
        assert earlier == {}
        for fps, overwrite in ((24, False), (12, False), (12, True)):
            with (
                pytest.raises(UserError, match=r"out is in use by another prediction: wait for it or stop it"),
                locked_output(marker, "prediction", {"fps": fps}, overwrite, [], Shard()),
            ):
                pass
        assert json.loads(marker.read_text()) == {"fps": 24}
    with locked_output(marker, "prediction", {"fps": 24}, False, [], Shard()) as earlier:
        assert earlier == {"fps": 24}
    assert list(marker.parent.iterdir()) == [marker]


def test_a_folder_made_for_nothing_is_removed(tmp_path: Path) -> None:
    """With the folders above that were made for it; not one that was there, nor one with something in it."""
    (tmp_path / "there").mkdir()
    for folder, left in (("a/b", False), ("there", True), ("there/b", False)):
        marker = tmp_path / folder / "predict.json"
        with locked_output(marker, "prediction", {}, False, [], Shard()):
            marker.unlink()
        assert marker.parent.exists() is left
    assert list(tmp_path.iterdir()) == [tmp_path / "there"]
    kept = tmp_path / "a" / "predict.json"
    with pytest.raises(UserError, match="later"), locked_output(kept, "prediction", {}, False, [], Shard()):
        raise UserError("later")
    assert kept.is_file()


def test_shards_of_one_run_share_its_folder(tmp_path: Path) -> None:
    marker = tmp_path / "out" / "predict.json"
    with locked_output(marker, "prediction", {"fps": 24}, False, [], Shard(0, 2)):
        with locked_output(marker, "prediction", {"fps": 24}, False, [], Shard(1, 2)) as earlier:
            assert earlier == {"fps": 24}
        for shard, fps in ((Shard(1, 2), 12), (Shard(), 24)):
            with (
                pytest.raises(UserError, match="in use by another prediction"),
                locked_output(marker, "prediction", {"fps": fps}, False, [], shard),
            ):
                pass
    with (
        locked_output(marker, "prediction", {"fps": 24}, False, [], Shard()),
        pytest.raises(UserError, match="in use by another prediction"),
        locked_output(marker, "prediction", {"fps": 24}, False, [], Shard(1, 2)),
    ):
        pass


HOLDER = """
import sys
from pathlib import Path
from types import ModuleType
import adnet
sys.modules["adnet.inference"] = ModuleType("adnet.inference")  # that imports PyTorch, which is not needed here
sys.modules["adnet.inference"].__path__ = [f"{adnet.__path__[0]}/inference"]
from adnet.inference.output_folder import Shard, locked_output

with locked_output(Path(sys.argv[1]), "prediction", {}, False, [], Shard()):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_let_go_by_who_is_killed(tmp_path: Path) -> None:
    marker = tmp_path / "out" / "predict.json"
    # Not forked: this process may have threads whose locks a copy of it would wait for.
    command = [sys.executable, "-c", HOLDER, str(marker)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        try:
            assert other.stdout.readline() == "locked\n"
            with pytest.raises(UserError, match="in use"), locked_output(marker, "prediction", {}, False, [], Shard()):
                pass
        finally:
            other.kill()
    with locked_output(marker, "prediction", {}, False, [], Shard()) as earlier:
        assert earlier == {}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").touch()
    marker = tmp_path / "out" / "predict.json"
    with (
        pytest.raises(UserError, match=r"output=.*out is a file; give a folder"),
        locked_output(marker, "prediction", {}, True, [], Shard()),
    ):
        pass


def test_a_damaged_marker_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "predict.json").write_text('{"fps": ')
    with pytest.raises(UserError, match=r"predict\.json: cannot be read as JSON"):
        marked(tmp_path / "predict.json", {}, False, [])


def test_what_a_mistake_made_is_gone(tmp_path: Path) -> None:
    made = tmp_path / "masks"
    made.mkdir()
    with removed_after_user_error([made]):
        pass
    assert made.exists()
    with pytest.raises(UserError), removed_after_user_error([made]):
        raise UserError("an image can't be read")
    assert not made.exists()


def test_files_are_told_apart_by_name_and_content(tmp_path: Path) -> None:
    first, second = tmp_path / "1.png", tmp_path / "2.png"
    first.write_bytes(b"one")
    second.write_bytes(b"two")
    before = files_sha256([first, second])
    assert files_sha256([second, first]) == before
    first.write_bytes(b"two")
    second.write_bytes(b"one")
    assert files_sha256([first, second]) != before


def test_files_are_found_wherever_settings_name_them(tmp_path: Path) -> None:
    file = tmp_path / "detections.json"
    file.write_text("[]")
    settings = {"steps": [{"detector": {"file": str(file), "weights": None}}], "iou": 0.5, "device": "cuda"}
    before = contents([3, settings])
    assert list(before) == [str(file)]
    file.write_text("[1]")
    assert contents([3, settings]) != before


def test_an_export_is_all_its_files(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text("{}")
    (tmp_path / "embed.onnx").write_bytes(b"weights")
    before = checkpoint_sha256(tmp_path)
    assert checkpoint_sha256(tmp_path / "export.json") == before
    (tmp_path / "embed.onnx").write_bytes(b"other weights")
    assert checkpoint_sha256(tmp_path) != before
