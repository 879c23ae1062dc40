"""Random weights, in a file as they would come."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torchvision.models.optical_flow import Raft_Small_Weights, raft_small

from adnet.data import davis2016
from adnet.data.flow import SequenceFlow, camera_motion, normalised
from adnet.data.raft import RAFT
from adnet.errors import UserError


def pictures(size: tuple[int, int]) -> list[np.ndarray]:
    noise = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.float32)
    return [np.clip((cv2.GaussianBlur(one, (0, 0), 2) - 128) * 4 + 128, 0, 255).astype(np.uint8) for one in noise]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    file = tmp_path_factory.mktemp("raft") / "raft.pth"
    torch.save(raft_small(weights=None).state_dict(), file)
    return file


@pytest.fixture
def raft(weights: Path) -> RAFT:
    return RAFT("raft_small", str(weights), updates=1, camera=False, device="cpu")


def test_it_is_torchvision_s_network(raft: RAFT, weights: Path) -> None:
    frame, neighbour = pictures((128, 136))
    network = raft_small(weights=None).eval()
    network.load_state_dict(torch.load(weights, weights_only=True))
    images = [torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1 for image in (frame, neighbour)]
    with torch.no_grad():
        expected = network(*images, num_flow_updates=1)[-1][0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(raft.vectors(frame, neighbour), expected, atol=1e-4)
    assert np.abs(normalised(expected).astype(int) - raft(frame, neighbour)).max() <= 1
    raft.camera = True
    left = normalised(expected - camera_motion(expected))
    assert np.abs(left.astype(int) - raft(frame, neighbour)).mean() < 1


def test_frames_of_any_size(raft: RAFT) -> None:
    """Its network asks for sides of 8k, 128 at least."""
    assert raft.vectors(*pictures((50, 131))).shape == (50, 131, 2)
    raft.height = 32
    assert raft(*pictures((64, 100))).shape == (32, 50, 2)


def test_a_data_set_s_flow_is_cached(raft: RAFT, weights: Path, tiny_davis: Path, tmp_path: Path) -> None:
    sequence = davis2016(tiny_davis, "train").sequences[0]
    flow = SequenceFlow(raft, tmp_path / "cache")
    first = flow(sequence, 1)
    assert first.shape == (64, 112, 2)
    (file,) = (path for path in (tmp_path / "cache").rglob("*.npy"))
    raft._network = None  # type: ignore[assignment]
    np.testing.assert_array_equal(flow(sequence, 1), first)
    # Known by the weights' content: a copy elsewhere is the same, and others are not.
    copy = tmp_path / "copy.pth"
    copy.write_bytes(weights.read_bytes())
    assert repr(RAFT("raft_small", str(copy), updates=1, camera=False)) == repr(raft)
    torch.save(raft_small(weights=None).state_dict(), copy)
    assert repr(RAFT("raft_small", str(copy), updates=1, camera=False)) != repr(raft)
    assert file.is_file()


def test_mistakes_are_one_line(raft: RAFT, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def mistake(*arguments: str) -> str:
        with pytest.raises(UserError) as error:
            RAFT(*arguments)  # type: ignore[arg-type]
        assert "\n" not in str(error.value)
        return str(error.value)

    def fetch(url: str, *_: Any, **__: Any) -> Path:
        raise UserError(f"cannot download {url}: no route to host")

    assert mistake("raft_large", str(weights)).startswith(f"{weights} doesn't fit torchvision's raft_large: ")
    assert mistake("raft_small", "gone.pth").startswith("no file gone.pth")
    monkeypatch.setattr("adnet.shared.fetch.fetch", fetch)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    line = mistake("raft_small")
    cache = tmp_path / "hub" / "checkpoints" / Raft_Small_Weights.DEFAULT.url.rpartition("/")[2]
    for part in ("no route to host", f"copy them to {cache}", "flow.method.weights=FILE", "flow=dis"):
        assert part in line
    cache.parent.mkdir(parents=True)
    cache.write_bytes(weights.read_bytes())
    assert repr(RAFT(updates=1, camera=False)) == repr(raft)

    raft.device = torch.device("cuda")
    monkeypatch.setattr("adnet.data.raft.get_worker_info", lambda: object())
    with pytest.raises(UserError, match=r"can't use CUDA in a loader process: give flow\.cache=FOLDER"):
        raft(*pictures((40, 40)))


def test_it_travels_to_other_processes(raft: RAFT) -> None:
    assert repr(pickle.loads(pickle.dumps(raft))) == repr(raft)
