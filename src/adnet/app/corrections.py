"""Frames of a visitor's video that were corrected with the brush, and what the network learns from them."""

from base64 import b64decode
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from adnet.app.segmentation import Segmentation, write_zip
from adnet.backends.runtime import for_inference
from adnet.data.coco_masks import write_coco
from adnet.data.masks import Mask, read_mask, write_mask
from adnet.data.pictures import write_png
from adnet.errors import UserError
from adnet.metrics import region_similarity
from adnet.models import ADNet
from adnet.models.checkpoint import load_checkpoint
from adnet.training.adaptation import MOST, adapt
from adnet.video.overlay import COLOUR

BRUSH = Path(__file__).with_name("brush.js").read_text(encoding="utf-8")
"""The script of the editor: `Corrections.show` makes its input, `Corrections.keep` saves its output."""


class Learned(NamedTuple):
    """The network that learned the corrections, its segmentation of the video, and mean J of the corrected frames before and after."""

    network: ADNet
    segmentation: Segmentation
    before: float
    after: float


class Corrections:
    """The corrected frames of a segmented video. Their masks are in `folder`, which holds nothing else."""

    def __init__(self, segmentation: Segmentation, folder: Path) -> None:
        self.segmentation, self.folder = segmentation, folder
        self.learned: Learned | None = None

    def masks(self) -> dict[str, Mask]:
        """Read the corrected masks, by the names of their frames."""
        return {path.stem: read_mask(path) for path in sorted(self.folder.iterdir())}

    def show(self, index: int, threshold: float, folder: Path) -> dict[str, Any]:
        """Write a frame, and its mask to correct, into `folder`; return the editor's input.

        The mask is the corrected one if there is one, otherwise that of the newest network.
        """
        newest = self.learned.segmentation if self.learned else self.segmentation
        corrected = self._file(index)
        mask = read_mask(corrected) if corrected.exists() else newest.mask(index, threshold)
        write_png(folder / "frame.png", self.segmentation.frame(index).image)
        write_png(folder / "mask.png", np.where(mask[..., None], [*COLOUR, 255], 0).astype(np.uint8))
        urls = {name: f"gradio_api/file={folder / name}.png" for name in ("frame", "mask")}
        return {"frame": index, "picture": urls["frame"], "mask": urls["mask"], "corrected": corrected.exists()}

    def keep(self, edited: Any) -> None:
        """Keep the mask that was drawn, if any; `edited` comes from the browser, and may be anything.

        Raises UserError for a drawing that isn't a PNG of the frame's size, and for more than `MOST` corrected frames.
        """
        match edited:
            case {"frame": int(index), "drawn": str(drawn)} if 0 <= index < len(self.segmentation.names()):
                mask = _mask(drawn, self.segmentation.mask(index, 0).shape)
                if not self._file(index).exists() and len(self.masks()) == MOST:
                    raise UserError(f"{MOST} frames are corrected, and more can't be learned here: discard one")
                write_mask(self._file(index), mask)

    def discard(self, index: int) -> None:
        """Forget the correction of a frame."""
        self._file(index).unlink(missing_ok=True)

    def learn(self, threshold: float, folder: Path, progress: Callable[[float, float], None]) -> Learned:
        """Teach a copy of the network the corrected frames, and segment the video again; probabilities go into `folder`.

        `progress` is as in `adapt`. Raises UserError as `adapt` does, without corrections, and if the video can't be read again.
        """
        network, source = self.segmentation.network, self.segmentation.source
        if not (masks := self.masks()):
            raise UserError("nothing is corrected yet: draw on a frame")
        model, _ = load_checkpoint(network.checkpoint)
        model = adapt(model.to(network.model.device), source, masks, network.size, progress=progress)
        again = Segmentation(network._replace(model=for_inference(model)), source, folder)
        predicted = again.segment()
        if predicted.frames < len(self.segmentation.names()):
            raise UserError(predicted.problem or f"{source.name} has become shorter")
        self.learned = Learned(model, again, *(_mean_j(made, masks, threshold) for made in (self.segmentation, again)))
        return self.learned

    def write_dataset(self, folder: Path, archive: Path) -> None:
        """Write the corrected frames into `folder`, as `data=folder` and `data=coco` read them, and zip it into `archive`."""
        masks, name = self.masks(), self.segmentation.source.name
        for number, frame in enumerate(self.segmentation.source.frames()):
            if frame.name in masks:
                (folder / "frames" / name).mkdir(parents=True, exist_ok=True)
                write_png(folder / "frames" / name / f"{frame.name}.png", frame.image)
                write_mask(folder / "masks" / name / f"{frame.name}.png", masks[frame.name])
            if number + 1 == len(self.segmentation.names()):
                break  # a damaged video raises an error after its last frame
        write_coco(sorted((folder / "masks" / name).iterdir()), folder / "coco.json", folder=f"frames/{name}/")
        write_zip(folder, archive)

    def _file(self, index: int) -> Path:
        names = self.segmentation.names()
        if not 0 <= index < len(names):
            raise UserError(f"{self.segmentation.source.name} has no frame {index}")
        return self.folder / f"{names[index]}.png"


def _mean_j(segmentation: Segmentation, masks: Mapping[str, Mask], threshold: float) -> float:
    corrected = [(index, masks[name]) for index, name in enumerate(segmentation.names()) if name in masks]
    return float(np.mean([region_similarity(segmentation.mask(index, threshold), mask) for index, mask in corrected]))


def _mask(drawn: str, shape: tuple[int, ...]) -> Mask:
    """Read a drawing, a PNG in a data URL, as a mask: True where it is opaque. Raises UserError for anything else or another size."""
    try:
        content = b64decode(drawn.removeprefix("data:image/png;base64,"), validate=True)
        with Image.open(BytesIO(content), formats=["PNG"]) as image:
            size = image.height, image.width
            alpha = np.asarray(image.getchannel("A")) if size == shape else None
    except Exception as error:  # decoders may raise anything
        raise UserError("the drawing can't be read: draw it again") from error
    if alpha is None:
        raise UserError(f"the drawing is {size[1]}x{size[0]}, the frame {shape[1]}x{shape[0]}: draw it again")
    return alpha >= 128
