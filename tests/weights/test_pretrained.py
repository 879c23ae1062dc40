from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from adnet.errors import UserError
from adnet.inference import load_checkpoint
from adnet.weights import pretrained
from adnet.weights.pretrained import CONFIG, WEIGHTS, locate, read_pretrained, write_pretrained

TENSORS = {"a.weight": torch.randn(2, 3, generator=torch.manual_seed(0)), "a.count": torch.tensor(7)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "made" / "weights"
    write_pretrained(folder, {"variant": "full"}, (65, 97), TENSORS, {"data": "none"})
    return folder


def test_what_is_written_is_read_in_half_precision(folder: Path) -> None:
    config, size, weights = read_pretrained(folder)
    assert (config, size) == ({"variant": "full"}, (65, 97))
    assert weights["a.weight"].dtype is torch.float32
    assert torch.equal(weights["a.weight"], TENSORS["a.weight"].half().float())
    assert torch.equal(weights["a.count"], TENSORS["a.count"])
    assert sorted(path.name for path in folder.iterdir()) == [CONFIG, WEIGHTS]
    assert json.loads((folder / CONFIG).read_text())["about"] == {"data": "none"}


def test_statistics_stay_precise_and_nothing_becomes_infinite(tmp_path: Path) -> None:
    tensors = {
        "norm.weight": torch.rand(3),
        "norm.running_mean": torch.tensor([0.1, -70_000.3, 1e-9]),
        "norm.running_var": torch.tensor([237_743.0, 1e-9, 0.3]),
        "conv.weight": torch.tensor([1e5, 0.1]),
        "norm.num_batches_tracked": torch.tensor(3),
    }
    write_pretrained(tmp_path / "out", {}, (65, 97), tensors, {})
    read = read_pretrained(tmp_path / "out")[2]
    assert torch.equal(read.pop("norm.weight"), tensors["norm.weight"].half().float())
    for name, value in read.items():
        assert torch.equal(value, tensors[name]), name


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_is_refused(tmp_path: Path, bad: float) -> None:
    with pytest.raises(UserError, match=r"^norm\.running_var has values that are infinite or not a number"):
        write_pretrained(tmp_path / "out", {}, (65, 97), {"norm.running_var": torch.tensor([1.0, bad])}, {})
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(folder: Path) -> None:
    with pytest.raises(UserError, match="exists and is not an empty folder"):
        write_pretrained(folder, {}, (1, 1), {}, {})
    assert read_pretrained(folder)[1] == (65, 97)


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"model": {}}', '{"model": 1, "test_size": [1, 2]}', '{"model": {}, "test_size": [1]}',
     '{"model": {}, "test_size": [0, 5]}', '{"model": {}, "test_size": ["a", 5]}'],
)  # fmt: skip
def test_a_config_of_something_else_is_one_line(folder: Path, content: str) -> None:
    (folder / CONFIG).write_text(content)
    with pytest.raises(UserError, match=r"config\.json doesn't describe a network"):
        read_pretrained(folder)


def test_missing_and_damaged_files_are_one_line(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:-4])
    with pytest.raises(UserError, match="can't be read"):
        read_pretrained(folder)
    (folder / WEIGHTS).unlink()
    with pytest.raises(UserError, match="no file"):
        read_pretrained(folder)
    (folder / CONFIG).unlink()
    with pytest.raises(UserError, match=r"holds no config\.json"):
        read_pretrained(folder)


def test_a_checkpoint_is_a_path_the_released_weights_or_one_of_the_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def download(name: str, revision: str | None, files: list[str]) -> Path:
        asked.append((name, revision, files))
        return folder

    monkeypatch.setattr(pretrained, "download", download)
    assert locate("runs/last.ckpt") == Path("runs/last.ckpt")
    assert locate(None) == locate("adnet/lite") == pretrained.RELEASED / WEIGHTS
    assert locate(folder) == folder / WEIGHTS
    assert locate("hub:someone/model") == locate("hub:someone/model@v1") == folder / WEIGHTS
    assert asked == [("someone/model", None, [CONFIG, WEIGHTS]), ("someone/model", "v1", [CONFIG, WEIGHTS])]


@pytest.mark.parametrize("name", ["hub:", "hub:a/b/c", "hub:nobody/nothing"])
def test_what_the_hub_has_not_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="can't get hub:"):
        locate(name)


def test_the_released_weights_are_a_network_with_outlines() -> None:
    model, size = load_checkpoint()
    assert (model.variant, size) == ("full_motion", (257, 449))
    assert model.decoder is not None
    assert sum(file.stat().st_size for file in pretrained.RELEASED.iterdir()) < 15e6
    with torch.inference_mode():
        logits = model(*torch.rand(3, 1, 3, 65, 97, generator=torch.manual_seed(0)))
    assert torch.isfinite(logits).all()
