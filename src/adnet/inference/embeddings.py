"""Write embeddings to disk, so that a report can draw Figures 1 and 3 without the network."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from adnet.backends.runtime import SegmentationModel
from adnet.data.masks import Mask
from adnet.data.pairs import to_tensor
from adnet.data.pictures import Frame, read_frame
from adnet.data.videos import Video, VideoDataset, evenly_spaced
from adnet.errors import UserError
from adnet.models import ADNet, upsample
from adnet.models.branches import VARIANTS
from adnet.shared.files import replacing, write_json

THUMBNAIL_WIDTH = 480  # pixels


def write_embeddings(
    model: ADNet, dataset: VideoDataset, size: tuple[int, int], frames: int, output: Path
) -> dict[str, Any]:
    """Embed the frames of `dataset` at `size` (height, width), at a single scale; return the content of `embeddings.json`.

    Writes `output/embeddings/<sequence>.npz` with K frames: the anchor and up to `frames` later ones, evenly spaced:

    - `names` `[K]`: stems of the frames;
    - `values` int8 `[K, h, w, C]` and `scales` float32 `[K, h, w]`: the embeddings are `values * scales[..., None]`;
    - `foreground` bool `[K, h, w]`: the annotation at each embedding's position (False without an annotation);
    - `thumbnails` uint8 `[K, ., 480, 3]`: the frames, RGB;

    and `output/embeddings.json` (see its schema), with the curves of Figure 3 over annotated frames. Embeddings are the
    input of the branches; for the baseline, of the encoder's last 1x1 convolution. Raises UserError if `frames` is below 1.
    """
    if frames < 1:
        raise UserError(f"embeddings={frames}: give the number of frames to keep per sequence, 1 or more")
    model.eval()
    curves: dict[str, Any] = {}
    with tqdm(dataset.sequences, desc="embeddings", unit="sequence", leave=False, disable=None) as progress:
        for sequence in progress:
            kept = set(evenly_spaced(len(sequence.frames), frames + 1))
            target = output / "embeddings" / f"{sequence.name}.npz"
            curves[sequence.name] = _write_sequence(model, sequence, size, kept, target)
    document = {"variant": model.variant, "size": list(size), "sequences": curves}
    write_json(output / "embeddings.json", document)
    return document


@torch.inference_mode()
def pixel_embeddings(model: SegmentationModel, frame: Frame, size: tuple[int, int]) -> Tensor:
    """Embed a frame, RGB uint8 `[H, W, 3]`, as `write_embeddings` does: `[1, C, h, w]`. The model must be in eval mode.

    An exported network gives only the embeddings that are the input of its branches.

    Examples:
        >>> from adnet.models.checkpoint import load_checkpoint
        >>> pixel_embeddings(load_checkpoint()[0], np.zeros((48, 80, 3), np.uint8), (65, 113)).shape
        torch.Size([1, 128, 5, 8])
    """
    image = upsample(to_tensor(frame).to(model.device)[None].float() / 255, size)
    if VARIANTS[model.variant]:
        return model.embed(image)
    assert isinstance(model, ADNet)
    features: Tensor = model.encoder.aspp(model.encoder.features(image)[-1])
    return features


def quantized(embedding: Tensor) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Quantise an embedding `[1, C, h, w]` to int8 `[h, w, C]` and the scale of each pixel, float32 `[h, w]`."""
    values = embedding[0].float().permute(1, 2, 0).cpu().numpy()
    # With one scale per pixel, attention computed from the result has half the error that a single scale would give.
    scales = np.maximum(np.abs(values).max(axis=-1), 1e-12) / 127
    return np.rint(values / scales[..., None]).astype(np.int8), scales.astype(np.float32)


def foreground_embeddings(embedding: Tensor, annotation: Mask) -> Tensor:
    """Select the pixels `[N, C]` of an embedding `[C, h, w]` on the foreground of the annotation `[H, W]`."""
    return embedding[:, _on_grid(annotation, (embedding.shape[1], embedding.shape[2]))].T


def mean_cosine_distance(directions: Tensor, others: Tensor) -> float | None:
    """Average 1 - cosine over all pairs of a row of `directions` `[N, C]` and one of `others` `[M, C]`; None without pairs."""
    if not len(directions) or not len(others):
        return None
    # The mean over pairs is the product of the means. Computed on the CPU, because Apple's GPU has no float64.
    means = [normalize(rows.cpu().double(), dim=1).mean(dim=0) for rows in (directions, others)]
    return float(1 - means[0] @ means[1])


def _write_sequence(
    model: ADNet, sequence: Video, size: tuple[int, int], kept: set[int], target: Path
) -> dict[str, list[Any]]:
    rows = list[tuple[Any, ...]]()
    stems, distances = list[str](), list[float | None]()
    first: Tensor | None = None
    for index, path in enumerate(sequence.frames):
        annotated = path.stem in sequence.annotations
        if index not in kept and not annotated:
            continue
        frame = read_frame(path)
        embedding = pixel_embeddings(model, frame, size)
        grid = (embedding.shape[2], embedding.shape[3])
        foreground = np.zeros(grid, np.bool_)
        if annotated:
            annotation = sequence.annotation(path)
            chosen, foreground = foreground_embeddings(embedding[0], annotation), _on_grid(annotation, grid).numpy()
            first = chosen if first is None else first
            stems.append(path.stem)
            distances.append(mean_cosine_distance(chosen, first))
        if index in kept:
            height = round(THUMBNAIL_WIDTH * frame.shape[0] / frame.shape[1])
            thumbnail = cv2.resize(frame, (THUMBNAIL_WIDTH, height), interpolation=cv2.INTER_AREA)
            rows.append((path.stem, *quantized(embedding), foreground, thumbnail))
    names = ("names", "values", "scales", "foreground", "thumbnails")
    arrays: dict[str, Any] = dict(zip(names, map(np.asarray, zip(*rows, strict=True)), strict=True))
    with replacing(target) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, **arrays)
    return {"frames": stems, "distance": distances}


def _on_grid(mask: Mask, grid: tuple[int, int]) -> Tensor:
    """Sample a mask `[H, W]` at the positions of the embeddings, with aligned corners: bool `[h, w]`."""
    return upsample(torch.from_numpy(mask)[None, None].float(), grid)[0, 0] > 0.5
