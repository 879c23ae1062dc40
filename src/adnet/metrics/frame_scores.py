"""Score single frames from the files of any method, masks or probability maps: J here, F and saliency in files of their own."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from adnet.data.masks import MOST_LABELS, Mask, foreground, mask_values, read_mask
from adnet.data.pictures import check_range, check_same_size, open_picture
from adnet.data.videos import PICTURES, images_in
from adnet.errors import UserError
from adnet.metrics.contour import contour_accuracy
from adnet.metrics.saliency import Saliency
from adnet.shared.arrays import read_array

Prediction = npt.NDArray[Any]
Kind = Literal["masks", "probabilities"]


def find_predictions(folder: Path) -> dict[str, Path]:
    """Find `<frame>.png` (or another image) and `<frame>.npy` in a folder, or else in its `masks`, where `adnet.predict` writes.

    Raises UserError if a frame has two.
    """
    suffixes = {*PICTURES, ".npy"}
    return images_in(folder, suffixes) or images_in(folder / "masks", suffixes)


def read_prediction(path: Path) -> Prediction:
    """Read `[H, W]` as stored in the file: bool, grey values (uint8, uint16) or float.

    What is a mask by its form (a palette, colours, alpha) becomes bool, as in `read_mask`; a colour image of grey pixels counts as
    grey. Raises UserError if the file can't be read, or if its array is not `[H, W]` of one of these types.
    """
    array = read_array(path) if path.suffix.lower() == ".npy" else mask_values(path, open_picture(path))
    if array.ndim > 2:  # networks leave a channel or batch dimension of 1 behind
        array = array.reshape([side for side in array.shape if side > 1])
    if array.ndim != 2 or not (array.dtype in (np.bool_, np.uint8, np.uint16) or array.dtype.kind == "f"):
        held = f"{array.dtype} of shape {list(array.shape)}"
        raise UserError(f"{path} holds {held}; give [H, W] of bool, uint8, uint16 or float")
    return array


def read_predicted_mask(path: Path) -> Mask:
    """Read a file that holds a mask, bool `[H, W]`, by the rule of annotations. Raises UserError as `read_prediction` does."""
    return read_mask(path) if path.suffix.lower() != ".npy" else foreground(path, read_prediction(path))


def guess_kind(paths: Iterable[Path]) -> tuple[Kind, str]:
    """Guess whether files hold masks or probability maps, and say by which rule. Reads all `paths`; a sample is enough.

    - Floats are probabilities; bilevel, palette and colour images are masks.
    - Grey values (8 or 16 bits) are masks if all files together have only one besides 0 (0/255, 0/1), probabilities if they
      have more than `MOST_LABELS`. In between, they could be labels of objects or a map with few distinct values.

    Raises UserError in that case, and if the files differ in kind.
    """
    kinds: dict[Kind, str] = {}
    greys: set[int] = set()
    for path in paths:
        prediction = read_prediction(path)
        if prediction.dtype.kind == "f":
            kinds["probabilities"] = "floats"
        elif prediction.dtype == np.bool_:
            kinds["masks"] = "labels"
        else:
            greys |= {*np.unique(prediction).tolist()} - {0}
    if 1 < len(greys) <= MOST_LABELS:
        some = ", ".join(map(str, sorted(greys)[:5])) + ", ..." * (len(greys) > 5)
        advice = "give kind=masks or kind=probabilities"
        raise UserError(f"grey values {some} may be labels of objects or probabilities: {advice}")
    if len(greys) == 1:
        kinds["masks"] = f"one grey value besides 0: {min(greys)}"
    elif greys:
        kinds["probabilities"] = f"{len(greys)} grey values"
    if len(kinds) > 1:
        masks, maps = kinds["masks"], kinds["probabilities"]
        raise UserError(f"masks ({masks}) and probability maps ({maps}) are mixed: give kind=...")
    return next(iter(kinds.items()), ("masks", "nothing but 0"))


def to_probability(prediction: Prediction, path: Path) -> Prediction:
    """Convert bool to uint8; leave float, uint8 and uint16. Raises UserError, naming `path`, for floats outside [0, 1]."""
    if prediction.dtype == np.bool_:
        return np.asarray(prediction * np.uint8(255))
    if prediction.dtype.kind == "f":
        check_range(path, prediction, 1, "write probabilities, after the sigmoid")
    return prediction


def threshold(probability: Prediction) -> npt.NDArray[np.bool_]:
    """Threshold a probability map: bool `[H, W]`, above 0.5."""
    whole = 1.0 if probability.dtype.kind == "f" else float(np.iinfo(probability.dtype).max)
    return np.asarray(probability > 0.5 * whole)


def region_similarity(mask: npt.NDArray[np.bool_], annotation: npt.NDArray[np.bool_]) -> float:
    """Compute J = |P and G| / |P or G| of two bool `[H, W]` arrays, in [0, 1]; 1 if both are empty.

    Raises ValueError if the shapes differ. Source: Perazzi et al., CVPR 2016.

    Examples:
        >>> mask = np.eye(4, dtype=bool)
        >>> region_similarity(mask, np.ones((4, 4), bool))
        0.25
    """
    if mask.shape != annotation.shape:
        raise ValueError(f"expected a mask of the annotation's shape {annotation.shape}, got {mask.shape}")
    union = np.count_nonzero(mask | annotation)
    return float(np.count_nonzero(mask & annotation) / union) if union else 1.0


class FrameFiles(NamedTuple):
    """A frame's `prediction` of either kind, perhaps its `probability` map as well, and its annotation with its `regions`."""

    prediction: Path
    probability: Path | None
    annotation: Path
    regions: tuple[int, ...] = ()


class FrameScore(NamedTuple):
    """J and F in [0, 1], the numbers of foreground pixels in both masks, in the prediction and in the annotation, and of all pixels."""

    J: float
    F: float
    common: int
    predicted: int
    annotated: int
    pixels: int


def score_frames(frames: list[FrameFiles], kind: Kind, sampled: bool) -> tuple[list[FrameScore], Saliency | None]:
    """Score frames in this process, with the saliency of their probability maps, if any.

    `sampled` says that `kind` was guessed from a sample of the files. Raises UserError if a file can't be read, differs in
    size from its annotation, or isn't of that kind.
    """
    saliency = Saliency() if any(kind == "probabilities" or frame.probability for frame in frames) else None
    return [_score_frame(frame, kind, sampled, saliency) for frame in frames], saliency


def _score_frame(frame: FrameFiles, kind: Kind, sampled: bool, saliency: Saliency | None) -> FrameScore:
    annotation = read_mask(frame.annotation, frame.regions)

    def read(path: Path, reader: Callable[[Path], npt.NDArray[Any]] = read_prediction) -> npt.NDArray[Any]:
        prediction = reader(path)
        other, advice = f"its annotation {frame.annotation}", "write the prediction at that size"
        check_same_size(path, prediction.shape, other, annotation.shape, advice)
        return prediction

    probability = None
    if kind == "probabilities":
        probability = to_probability(read(frame.prediction), frame.prediction)
        mask = threshold(probability)
    elif sampled:
        prediction = read(frame.prediction)
        if not ((prediction == 0) | (prediction == prediction.max(initial=0))).all():
            others = "but other files have only one besides 0: give kind=masks or kind=probabilities"
            raise UserError(f"{frame.prediction} has several grey values, {others}")
        mask = prediction != 0
    else:
        mask = read(frame.prediction, read_predicted_mask)
    if frame.probability:
        probability = to_probability(read(frame.probability), frame.probability)
    if saliency is not None and probability is not None:
        saliency.update(probability, annotation)
    common, predicted, annotated = (int(np.count_nonzero(part)) for part in (mask & annotation, mask, annotation))
    J, F = region_similarity(mask, annotation), contour_accuracy(mask, annotation)
    return FrameScore(J, F, common, predicted, annotated, mask.size)
