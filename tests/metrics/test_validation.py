import json

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from adnet.metrics import contour_accuracy, region_similarity
from adnet.metrics.validation import ContourAccuracy, RegionSimilarity

KEYS = torch.tensor([[0, 1], [0, 2], [0, 3], [3, 1], [3, 2]])
METRICS = [(RegionSimilarity, region_similarity), (ContourAccuracy, contour_accuracy)]


def frames():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand((2, len(KEYS), 1, 6, 9), generator=generator)
    masks, annotations = (torch.nn.functional.interpolate(half, scale_factor=8)[:, 0] > 0.5 for half in coarse)
    annotations[4] = masks[4] = False  # both empty: counts as 1
    return masks, annotations


def expected(function):
    values = [function(m.numpy(), a.numpy()) for m, a in zip(*frames(), strict=True)]
    return np.mean([np.mean(values[:3]), np.mean(values[3:])])


@pytest.mark.parametrize(("metric", "function"), METRICS)
def test_mean_per_sequence_then_over_sequences(metric, function):
    masks, annotations = frames()
    metric = metric()
    for part in (torch.tensor([3]), torch.tensor([4, 0, 2]), torch.tensor([1])):
        metric.update(masks[part], annotations[part], KEYS[part])
    result = metric.compute()
    assert result.ndim == 0
    assert result.item() == pytest.approx(expected(function), abs=1e-6)


@pytest.mark.parametrize(("metric", "function"), METRICS)
def test_a_frame_that_comes_twice_counts_once(metric, function):
    masks, annotations = frames()
    metric = metric()
    for part in (torch.arange(5), torch.tensor([0, 0, 4])):
        metric.update(masks[part], annotations[part], KEYS[part])
    assert metric.compute().item() == pytest.approx(expected(function), abs=1e-6)


def test_frames_of_the_same_index_in_two_sequences_are_two_frames():
    on, off = torch.ones(1, 4, 4, dtype=torch.bool), torch.zeros(1, 4, 4, dtype=torch.bool)
    metric = RegionSimilarity()
    metric.update(on, on, torch.tensor([[0, 7]]))
    metric.update(on, off, torch.tensor([[1, 7]]))
    assert metric.compute().item() == 0.5


def test_reset_forgets():
    on = torch.ones(1, 4, 4, dtype=torch.bool)
    metric = RegionSimilarity()
    metric.update(on, ~on, torch.tensor([[0, 0]]))
    metric.reset()
    metric.update(on, on, torch.tensor([[0, 1]]))
    assert metric.compute().item() == 1


def test_nothing_added_is_an_error():
    with pytest.raises(ValueError, match="No samples"), pytest.warns(UserWarning, match="before the ``update``"):
        RegionSimilarity().compute()


@pytest.mark.parametrize(
    ("masks", "annotations", "keys", "message"),
    [
        (torch.zeros(2, 4, 4), torch.zeros(2, 4, 4).bool(), KEYS[:2], "expected bool"),
        (torch.zeros(2, 4, 4).bool(), torch.zeros(2, 4, 5).bool(), KEYS[:2], r"got \(2, 4, 4\), \(2, 4, 5\)"),
        (torch.zeros(2, 1, 4, 4).bool(), torch.zeros(2, 1, 4, 4).bool(), KEYS[:2], "one shape"),
        (torch.zeros(2, 4, 4).bool(), torch.zeros(2, 4, 4).bool(), KEYS[:3], r"keys of shape \[2, 2\], got \[3, 2\]"),
    ],
)
def test_wrong_shapes_are_refused(masks, annotations, keys, message):
    with pytest.raises(ValueError, match=message):
        RegionSimilarity().update(masks, annotations, keys)


def _rank(rank, folder):
    dist.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    masks, annotations = frames()
    part = [torch.tensor([0, 2, 4]), torch.tensor([1, 3, 0])][rank]  # frame 0 pads the second rank
    results = {}
    for metric, _ in METRICS:
        metric = metric()
        for i in part:
            metric.update(masks[i, None], annotations[i, None], KEYS[i, None])
        results[type(metric).__name__] = metric.compute().item()
    dist.destroy_process_group()
    (folder / f"{rank}.json").write_text(json.dumps(results))


@pytest.mark.slow
def test_two_processes_agree_on_the_undistributed_mean(tmp_path):
    mp.spawn(_rank, (tmp_path,), nprocs=2)
    for rank in range(2):
        results = json.loads((tmp_path / f"{rank}.json").read_text())
        assert results == {metric.__name__: pytest.approx(expected(function), abs=1e-6) for metric, function in METRICS}
