"""Make the figure of `docs/explanation/anchor.md`: `python docs/anchor_picture.py docs/anchor.webp`.

Makes synthetic videos and embeds the first frame (the anchor) and the last frame of each with the weights that come with adnet. For three
pixels of the last frame, prints how much of their similarity is on the anchor's foreground, and draws it for two videos (the paper's
Figure 1). The points are chosen by the report's rule, not by hand.
"""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from adnet.data import synthetic
from adnet.inference import load_checkpoint
from adnet.inference.embeddings import write_embeddings
from adnet.report.figures.similarity_explorer import read_embedded, similarity_plot

SHOWN = ("val-003", "val-001")  # where it goes well, and where it doesn't
LABEL = "released weights"


def main(target: Path) -> None:
    """Write `target`, a WebP."""
    model, size = load_checkpoint()
    pictures = {}
    with TemporaryDirectory() as scratch:
        videos, found = synthetic(Path(scratch) / "videos", train=0), Path(scratch) / "found"
        write_embeddings(model, videos, size, 1, found)
        for sequence in videos.sequences:
            name = sequence.name
            plot = similarity_plot([read_embedded(found / "embeddings" / f"{name}.npz", LABEL, name)])
            assert plot
            for row in plot.rows:
                print(*row, sep=", ")
            drawn = BytesIO()
            plot.figure.savefig(drawn, format="png", dpi=110, facecolor="white")
            pictures[name] = Image.open(drawn).convert("RGB")
    figure = np.vstack([np.asarray(pictures[name]) for name in SHOWN])
    Image.fromarray(figure).save(target, quality=80, method=6)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
