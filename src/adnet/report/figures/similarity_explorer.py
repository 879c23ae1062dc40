"""Figure 1 of the paper: similarity of a frame's pixels to the anchor's, as data for the page and as a figure."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from adnet.errors import UserError
from adnet.report.analysis.pooling import Comparison, hardest_first
from adnet.report.captions import caption
from adnet.report.figures.plot import GREEN, PURPLE, VERMILION, Plot, Rows, base64_text, data_uri, jpeg, styled
from adnet.shared.arrays import read_arrays

POINTS = (("foreground", GREEN), ("background like the foreground", VERMILION), ("other background", PURPLE))


@dataclass(frozen=True, eq=False)
class Embedded:
    """Embeddings of the anchor (index 0) and of a few frames of a sequence, as written by `adnet.inference.embeddings`."""

    label: str
    sequence: str
    names: tuple[str, ...]
    values: npt.NDArray[np.int8]  # [K, h, w, C]
    scales: npt.NDArray[np.float32]  # [K, h, w]
    foreground: npt.NDArray[np.bool_]  # [K, h, w]
    thumbnails: npt.NDArray[np.uint8]  # [K, H, W, 3]

    def similarity(self, frame: int, row: int, column: int) -> npt.NDArray[np.float64]:
        """Compute the similarity (Eq. 2) of a pixel of frame `frame` to every pixel of the anchor: `[h, w]`, sums to 1."""
        pixel = self.values[frame, row, column] * float(self.scales[frame, row, column])
        anchor = self.values[0] * self.scales[0][..., None].astype(np.float64)
        scores = anchor @ pixel / self.values.shape[-1] ** 0.5
        weights = np.exp(scores - scores.max())
        shares: npt.NDArray[np.float64] = weights / weights.sum()
        return shares

    def points(self, frame: int) -> list[tuple[int, int]]:
        """Choose a pixel `(row, column)` for each of POINTS; empty for a frame without foreground or background.

        The innermost of the foreground; of the background those most and least like the foreground's mean (cosine).
        """
        mask = self.foreground[frame]
        if mask.all() or not mask.any():
            return []
        innermost = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1].argmax()
        vectors = self.values[frame] * self.scales[frame][..., None]
        directions = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)
        likeness = directions @ directions[mask].mean(axis=0)
        like, unlike = np.where(mask, -np.inf, likeness).argmax(), np.where(mask, np.inf, likeness).argmin()
        return [divmod(int(index), mask.shape[1]) for index in (innermost, like, unlike)]

    def page_data(self) -> dict[str, Any]:
        """Return the data that the page's script reads: arrays as base64, thumbnails as JPEG."""
        _, height, width, channels = self.values.shape
        frames = [
            {
                "name": name,
                "values": base64_text(values.tobytes()),
                "scales": base64_text(scales.astype("<f4").tobytes()),
                "foreground": base64_text(foreground.astype(np.uint8).tobytes()),
                "picture": data_uri("image/jpeg", jpeg(thumbnail)),
            }
            for name, values, scales, foreground, thumbnail in zip(
                self.names, self.values, self.scales, self.foreground, self.thumbnails, strict=True
            )
        ]
        size = {"height": height, "width": width, "channels": channels}
        return {"label": self.label, "sequence": self.sequence, **size, "frames": frames}


def embedded_sequences(comparison: Comparison, budget: int, sequences: int) -> tuple[list[Embedded], list[str]]:
    """Read the embeddings of each variant's first run on the `sequences` easiest sequences, the last row's first.

    Also returns what exceeds `budget` bytes, as `sequence, label`. Raises UserError for a file that can't be read.
    """
    chosen: list[Embedded] = []
    left_out: list[str] = []
    files = {result.label: result.evaluations[0].embeddings for result in reversed(comparison.results)}
    order = [comparison.sequences[index] for index in hardest_first(comparison)[::-1]]
    available = [name for name in order if any(name in of_label for of_label in files.values())]
    for name in available[:sequences]:
        for label, of_label in files.items():
            if name not in of_label:
                continue
            embedded = read_embedded(of_label[name], label, name)
            if embedded.values.nbytes > budget:
                left_out.append(f"{name}, {label}")
                continue
            budget -= embedded.values.nbytes
            chosen.append(embedded)
    return chosen, left_out


@styled
def similarity_plot(found: Sequence[Embedded], name: str = "similarity") -> Plot | None:
    """Draw Figure 1 for the first sequence, one row per variant: the last frame with its points, and a map for each."""
    shown = [embedded for embedded in found if embedded.sequence == found[0].sequence and embedded.points(-1)]
    if not shown:
        return None
    rows: Rows = []
    figure = Figure(figsize=(10, 0.4 + 1.6 * len(shown)), layout="constrained")
    for line, (panels, embedded) in enumerate(zip(figure.subplots(len(shown), 4, squeeze=False), shown, strict=True)):
        _, height, width, _ = embedded.values.shape
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        # With aligned corners, the outermost pixels lie on the frame's border.
        whole = (0, width - 1, height - 1, 0)
        panels[0].imshow(embedded.thumbnails[-1], extent=whole)
        panels[0].set_ylabel(embedded.label)
        panels[0].set_title(f"{embedded.sequence}, {embedded.names[-1]}" if line == 0 else "")
        for axes, (kind, colour), point in zip(panels[1:], POINTS, embedded.points(-1), strict=True):
            shares = embedded.similarity(-1, *point)
            inside = float(shares[embedded.foreground[0]].sum())
            panels[0].plot(point[1], point[0], "+", color="white", markersize=11, markeredgewidth=4)
            panels[0].plot(point[1], point[0], "+", color=colour, markersize=10, markeredgewidth=2)
            axes.imshow(embedded.thumbnails[0].mean(axis=-1), extent=whole, cmap="gray")
            axes.imshow(shares, extent=extent, cmap="viridis", alpha=0.7, interpolation="bilinear", vmin=0)
            axes.set_title(kind if line == 0 else "")
            axes.set_xlabel(f"{100 * inside:.0f} % on the foreground", fontsize=8)
            axes.spines[:].set(visible=True, color=colour, linewidth=2)
            rows.append((embedded.label, embedded.sequence, embedded.names[-1], kind, *point, round(100 * inside, 3)))
        for axes in panels:
            axes.set(xticks=[], yticks=[], xlim=whole[:2], ylim=whole[2:])
            axes.grid(visible=False)
    header = ("variant", "sequence", "frame", "point", "row", "column", "percent on the anchor's foreground")
    return Plot(name, caption("similarity_plot"), figure, header, rows)


def read_embedded(file: Path, label: str, sequence: str) -> Embedded:
    """Read the embeddings of a sequence, as written by `write_embeddings`. Raises UserError for an unreadable file."""
    try:
        arrays = read_arrays(file)
        names = tuple(arrays["names"].tolist())
        return Embedded(label, sequence, names, *map(arrays.pop, ("values", "scales", "foreground", "thumbnails")))
    except (UserError, KeyError) as error:
        raise UserError(f"{file}: cannot be read as embeddings ({error}); evaluate with embeddings=N again") from error
