import json

import numpy as np
import pytest
import torch
import torch.distributed as dist
from two_processes import ranks

from adnet.data.masks import write_mask
from adnet.metrics import contour_accuracy, region_similarity
from adnet.metrics.frame_scores import FrameFiles, score_frames
from adnet.training.module import SequenceMean

KEYS = torch.tensor([[0, 1], [0, 2], [0, 3], [3, 1], [3, 2]])
MEASURES = [region_similarity, contour_accuracy]


def frames():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((2, len(KEYS), 1, 6, 9), generator=generator)
    masks, annotations = (torch.nn.functional.interpolate(half, scale_factor=8)[:, 0] > 0.5 for half in coarse)
    annotations[4] = masks[4] = False  # both empty: counts as 1
    return masks, annotations


def expected(measure):
    values = [measure(m.numpy(), a.numpy()) for m, a in zip(*frames(), strict=True)]
    return np.mean([np.mean(values[:3]), np.mean(values[3:])])


@pytest.mark.parametrize("measure", MEASURES)
def test_mean_per_sequence_then_over_sequences(measure):
    masks, annotations = frames()
    metric = SequenceMean(measure)
    for part in (torch.tensor([3]), torch.tensor([4, 0, 2]), torch.tensor([1])):
        metric.update(masks[part], annotations[part], KEYS[part])
    result = metric.compute()
    assert result.ndim == 0
    assert result.item() == pytest.approx(expected(measure), abs=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_frame_that_comes_twice_counts_once(measure):
    masks, annotations = frames()
    metric = SequenceMean(measure)
    for part in (torch.arange(5), torch.tensor([0, 0, 4])):
        metric.update(masks[part], annotations[part], KEYS[part])
    assert metric.compute().item() == pytest.approx(expected(measure), abs=1e-6)


def test_frames_of_the_same_index_in_two_sequences_are_two_frames():
    on, off = torch.ones(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)
    metric = SequenceMean(region_similarity)
    metric.update(on, on, torch.tensor([[0, 7]]))
    metric.update(on, off, torch.tensor([[1, 7]]))
    assert metric.compute().item() == 0.5


@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_frame_has_the_score_of_its_files_to_the_last_bit(tmp_path, share):
    masks, annotations = np.random.default_rng(0).random((2, 1, 24, 40)) < share
    for name, mask in (("mask", masks), ("annotation", annotations)):
        write_mask(tmp_path / f"{name}.png", mask[0])
    files = FrameFiles(tmp_path / "mask.png", None, tmp_path / "annotation.png")
    ((J, F, *_),), _ = score_frames([files], "masks", False)
    for measure, score in zip(MEASURES, (J, F), strict=True):
        metric = SequenceMean(measure)
        metric.update(torch.from_numpy(masks), torch.from_numpy(annotations), torch.zeros(1, 2, dtype=torch.int64))
        assert metric.scores[0].item() == np.float32(score)


def test_reset_forgets():
    on = torch.ones(1, 4, 4, dtype=torch.bool)
    metric = SequenceMean(region_similarity)
    metric.update(on, ~on, torch.tensor([[0, 0]]))
    metric.reset()
    metric.update(on, on, torch.tensor([[0, 1]]))
    assert metric.compute().item() == 1


def test_nothing_added_is_an_error():
    with pytest.raises(ValueError, match="No samples"), pytest.warns(UserWarning, match="before the ``update``"):
        SequenceMean(region_similarity).compute()


@pytest.mark.parametrize(
    ("masks", "annotations", "keys", "message"),
    [
        (torch.zeros(2, 4, 4).bool(), torch.zeros(2, 4, 5).bool(), KEYS[:2], r"shape \(4, 5\), got \(4, 4\)"),
        (torch.zeros(2, 4, 4).bool(), torch.zeros(2, 4, 4).bool(), KEYS[:3], "is longer"),
    ],
)
def test_wrong_shapes_are_refused(masks, annotations, keys, message):
    with pytest.raises(ValueError, match=message):
        SequenceMean(region_similarity).update(masks, annotations, keys)


def _rank(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    masks, annotations = frames()
    part = [torch.tensor([0, 2, 4]), torch.tensor([1, 3, 0])][rank]  # frame 0 pads the second rank
    results = {}
    for measure in MEASURES:
        metric = SequenceMean(measure)
        for i in part:
            metric.update(masks[i, None], annotations[i, None], KEYS[i, None])
        results[measure.__name__] = metric.compute().item()
    dist.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(results))


@pytest.mark.slow
def test_two_processes_agree_on_the_undistributed_mean(tmp_path):
    ranks(_rank, tmp_path)
    for rank in range(2):
        results = json.loads((tmp_path / f"{rank}.json").read_text())
        assert results == {measure.__name__: pytest.approx(expected(measure), abs=1e-6) for measure in MEASURES}
