"""The page: a Gradio app on localhost that needs no other server."""

import os
import shutil
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr
import numpy as np
import torch
from PIL import Image, ImageDraw

from adnet.app.corrections import BRUSH, Corrections
from adnet.app.segmentation import Bounded, Network, Segmentation
from adnet.app.visits import Visit, Visits
from adnet.data.pictures import Frame, write_png
from adnet.errors import UserError
from adnet.inference.predict_videos import Predicted
from adnet.models.checkpoint import write_checkpoint
from adnet.video.file import VideoFile
from adnet.video.sources import VIDEOS, VideoSource

QUEUED: dict[str, Any] = {"concurrency_limit": 1, "concurrency_id": "one at a time", "api_visibility": "private"}
AT_ONCE: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
PLAYED: dict[str, Any] = {"autoplay": True, "loop": True, "buttons": []}
TRACKED = gr.Progress(track_tqdm=True)
"""As a default argument, this shows progress bars on the page instead of in the terminal."""
STALE = 60
"""Seconds without growth after which an upload counts as abandoned."""


class Limits(NamedTuple):
    """Limits for visitors. Only the first `frames` of a video are segmented; up to `waiting` jobs may queue."""

    megabytes: int
    frames: int
    megapixels: float
    waiting: int


class Page:
    """The page, its visitors, and the handlers of their clicks.

    Args:
        examples: videos to choose from.
        root: an empty folder for everything that is written, except that uploads first arrive in $GRADIO_TEMP_DIR.
    """

    def __init__(self, network: Network, limits: Limits, examples: Sequence[VideoSource], root: Path) -> None:
        self.network, self.limits, self.examples = network, limits, examples
        self.visits = Visits(root)
        self._uploads, self._thumbnails = Path(os.environ["GRADIO_TEMP_DIR"]), root / "examples"
        # Otherwise Gradio copies what it shows into a folder that all visitors share.
        gr.set_static_paths([self.visits.shown, self._thumbnails])

    def launch(self, host: str, port: int | None) -> gr.Blocks:
        """Serve the page in background threads until `close()` of the result. Raises UserError if `host` is no address."""
        try:
            socket.getaddrinfo(host, port)
        except (OSError, UnicodeError) as error:
            raise UserError(f"host={host}: no such address ({error}); give 127.0.0.1, or leave it out") from error
        blocks: gr.Blocks = self._blocks()
        blocks.queue(max_size=self.limits.waiting, api_open=False)
        blocks.launch(
            server_name=host,
            server_port=port,
            max_file_size=f"{self.limits.megabytes}mb",
            # System fonts, because Gradio's default fonts come from another server.
            theme=gr.themes.Default(
                primary_hue="pink", font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"]
            ),
            css_paths=Path(__file__).with_name("page.css"),
            footer_links=[],
            run_history=False,
            share=False,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            prevent_thread_lock=True,
            # Gradio has already checked the server; its second check gives up after 3 seconds, too early on a busy machine.
            _frontend=False,
            quiet=True,
        )
        return blocks

    def _blocks(self) -> gr.Blocks:
        start = self.network.protocol.threshold
        with gr.Blocks(title="adnet", analytics_enabled=False) as blocks:
            gr.Markdown(
                "# adnet\nThe main object of a video, found by anchor diffusion. The first frame is the anchor.\n\n"
                f"Up to {self.limits.megabytes} MB; the first {self.limits.frames} frames are segmented, on {self._device()}."
            )
            with gr.Row(equal_height=True):
                upload = gr.File(
                    label="Drop a video here", file_types=sorted(VIDEOS), height=190, scale=2, elem_id="upload"
                )
                gallery = gr.Gallery(
                    self._gallery(),
                    label="or choose a synthetic one",
                    columns=max(len(self.examples), 1),
                    height=190,
                    object_fit="cover",
                    allow_preview=False,
                    buttons=[],
                    interactive=False,
                    scale=3,
                    elem_id="examples",
                    visible=bool(self.examples),
                )
            # Gradio's own method leaves an empty file for each upload. Uploads have been checked at this point.
            upload.preprocess = lambda payload: payload.path
            status = gr.Markdown(min_height=70, elem_id="status")
            with gr.Column(visible=False) as results:
                with gr.Row():
                    overlay = gr.Video(label="Overlay", scale=3, elem_id="overlay", **PLAYED)
                    with gr.Column(scale=1, min_width=240):
                        threshold = gr.Slider(
                            0, 1, start, step=0.01, label="Threshold", info="of the probability", elem_id="threshold"
                        )
                        masks = gr.DownloadButton("Masks (ZIP)", elem_id="masks")
                        video = gr.DownloadButton("Overlay (MP4)", elem_id="video")
                with gr.Column(visible=self.network.checkpoint is not None):
                    gr.Markdown(
                        "## Correct, and learn\n"
                        "Add what is missing and erase what is wrong, in one to a dozen frames: the first, one from the middle, "
                        "the worst. The network learns from them, and segments the whole video again."
                    )
                    corrected = gr.Slider(0, 1, 0, step=1, label="Frame to correct", elem_id="corrected")
                    brush = gr.HTML(html_template="", js_on_load=BRUSH, apply_default_css=False, elem_id="brush")
                    with gr.Row():
                        discard = gr.Button("Discard this frame's correction", elem_id="discard")
                        learn = gr.Button("Learn from my corrections", variant="primary", elem_id="learn")
                    told = gr.Markdown(min_height=40, elem_id="told")
                    with gr.Column(visible=False) as learned:
                        with gr.Row():
                            before, after = (
                                gr.Video(label=label, elem_id=label.lower(), min_width=300, **PLAYED)
                                for label in ("Before", "After")
                            )
                        with gr.Row():
                            better_masks = gr.DownloadButton("Masks (ZIP)", elem_id="better-masks")
                            better_video = gr.DownloadButton("Overlay (MP4)", elem_id="better-video")
                            dataset = gr.DownloadButton("Corrected frames (ZIP)", elem_id="dataset")
                            weights = gr.DownloadButton("Weights (CKPT)", elem_id="weights")
                with gr.Column(visible=self.network.diffuses, elem_id="explained"):
                    gr.Markdown(
                        "## What the anchor attends to\n"
                        "Click on a pixel of the anchor: its row of softmax(X₀ Xₜᵀ / √C) appears over the frame."
                    )
                    with gr.Row():
                        anchor = gr.Image(label="Anchor", buttons=[], interactive=False, elem_id="anchor")
                        attention = gr.Image(label="Frame", buttons=[], interactive=False, elem_id="attention")
                    with gr.Row():
                        share = gr.Markdown(elem_id="share")
                        frame = gr.Slider(0, 1, 0, step=1, label="Frame", elem_id="frame")

            drawn, attended = [overlay, masks, video], [anchor, attention, share]
            edited, compared = [brush, told], [before, after, better_masks, better_video]
            for chosen in (
                upload.upload(self._keep, upload, [upload, status, results], **AT_ONCE),
                gallery.select(self._choose, None, [status, results], **AT_ONCE),
            ):
                everything = [status, results, *drawn, corrected, *edited, learned, frame, *attended]
                chosen.success(self._segment, threshold, everything, show_progress_on=status, **QUEUED)
            here = [corrected, threshold, brush]
            threshold.release(
                self._redraw, threshold, [*drawn, *compared], show_progress_on=[overlay, after], **QUEUED
            ).success(self._correct, here, edited, show_progress="hidden", **QUEUED)
            corrected.release(self._correct, here, edited, show_progress_on=brush, **QUEUED)
            discard.click(self._discard, [corrected, threshold], edited, show_progress_on=brush, **QUEUED)
            taught = [*edited, learned, *compared, dataset, weights]
            learn.click(self._learn, here, taught, show_progress_on=told, **QUEUED)
            anchor.select(self._point, [frame, threshold], attended, show_progress_on=attention, **QUEUED)
            frame.release(self._look, [frame, threshold], attended, show_progress_on=attention, **QUEUED)
            blocks.unload(self._leave)
        return blocks

    def _gallery(self) -> list[tuple[Path, str]]:
        pictures = []
        for number, source in enumerate(self.examples):
            pictures.append((self._thumbnails / f"{number}.png", source.name))
            for frame in islice(source.frames(), 1):
                write_png(pictures[-1][0], frame.image)
        return pictures

    def _keep(self, path: str, request: gr.Request) -> tuple[Any, ...]:
        """Move an upload from the folder that all visitors share to the visitor's own."""
        with _errors_on_page(), self.visits.begin(request.session_hash) as visit:
            file = visit.new_folder(visit.private, "upload") / Path(path).name
            try:
                shutil.move(path, file)
            except FileNotFoundError as error:
                raise UserError("the upload is gone: drop the video again") from error
            with suppress(OSError):  # the folder may hold another visitor's upload
                Path(path).parent.rmdir()
            return (None, *_waiting(visit, VideoFile(file.stem, file)))

    def _choose(self, event: gr.SelectData, request: gr.Request) -> tuple[Any, ...]:
        with _errors_on_page(), self.visits.begin(request.session_hash) as visit:
            return _waiting(visit, self.examples[event.index])

    def _segment(self, threshold: float, request: gr.Request, _: gr.Progress = TRACKED) -> tuple[Any, ...]:
        with _errors_on_page(), self.visits[request.session_hash] as visit:
            assert visit.source
            source = Bounded(visit.source, self.limits.frames, self.limits.megapixels * 1e6, visit.outdated())
            segmentation = Segmentation(self.network, source, visit.new_folder(visit.private, "maps"))
            predicted = segmentation.segment()
            if source.unwanted():
                return (gr.skip(),) * 13
            if not predicted.frames:
                return f"⚠️ {_problem(predicted, visit.source)}", *(gr.skip(),) * 12
            last = predicted.frames - 1
            visit.corrections = Corrections(segmentation, visit.new_folder(visit.private, "corrections"))
            visit.point = segmentation.most_probable_pixel()
            return (
                self._describe(predicted, visit.source),
                gr.Column(visible=True),
                *_draw(visit, segmentation, "drawing", threshold),
                gr.Slider(maximum=max(last, 1), value=0),
                *_edit(visit, 0, threshold),
                gr.Column(visible=False),
                gr.Slider(maximum=max(last, 1), value=last),
                *self._attend(visit, last, threshold),
            )

    def _redraw(self, threshold: float, request: gr.Request, _: gr.Progress = TRACKED) -> tuple[Any, ...]:
        with _errors_on_page(), self.visits[request.session_hash] as visit:
            corrections = _corrections(visit)
            drawn = _draw(visit, corrections.segmentation, "drawing", threshold)
            if (learned := corrections.learned) is None:
                return *drawn, *(gr.skip(),) * 4
            return *drawn, drawn[0], *_draw(visit, learned.segmentation, "learned", threshold)

    def _correct(self, index: int, threshold: float, edited: Any, request: gr.Request) -> tuple[Any, ...]:
        with _errors_on_page(), self.visits[request.session_hash] as visit:
            _corrections(visit).keep(edited)
            return _edit(visit, index, threshold)

    def _discard(self, index: int, threshold: float, request: gr.Request) -> tuple[Any, ...]:
        with _errors_on_page(), self.visits[request.session_hash] as visit:
            _corrections(visit).discard(index)
            return _edit(visit, index, threshold)

    def _learn(
        self, index: int, threshold: float, edited: Any, request: gr.Request, progress: gr.Progress = TRACKED
    ) -> tuple[Any, ...]:
        with _errors_on_page(), self.visits[request.session_hash] as visit:
            corrections, outdated = _corrections(visit), visit.outdated()
            corrections.keep(edited)

            def report(done: float, left: float) -> None:
                if outdated():
                    raise UserError("another video has been dropped in the meantime")
                progress(done, desc=f"learning, {left:.0f} s left")

            learned = corrections.learn(threshold, visit.new_folder(visit.private, "adapted"), report)
            folder = visit.new_folder(visit.shown, "adapted")
            corrections.write_dataset(visit.new_folder(visit.private, "corrected"), folder / "corrected.zip")
            write_checkpoint(folder / "adapted.ckpt", learned.network, self.network.size)
            brush, told = _edit(visit, index, threshold)
            return (
                brush,
                f"**Learned.** J of the corrected frames: **{100 * learned.before:.1f}** before, "
                f"**{100 * learned.after:.1f}** after. {told}",
                gr.Column(visible=True),
                next(visit.shown.glob("drawing-*/overlay.mp4")),
                *_draw(visit, learned.segmentation, "learned", threshold),
                folder / "corrected.zip",
                folder / "adapted.ckpt",
            )

    def _point(self, frame: int, threshold: float, event: gr.SelectData, request: gr.Request) -> tuple[Any, ...]:
        with _errors_on_page(), self.visits[request.session_hash] as visit:
            column, row = event.index
            visit.point = column, row
            return self._attend(visit, frame, threshold)

    def _look(self, frame: int, threshold: float, request: gr.Request) -> tuple[Any, ...]:
        with _errors_on_page(), self.visits[request.session_hash] as visit:
            return self._attend(visit, frame, threshold)

    def _leave(self, request: gr.Request) -> None:
        self.visits.leave(request.session_hash)
        # Delete abandoned uploads. One in progress keeps growing.
        for path in self._uploads.glob("*"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > STALE:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _attend(self, visit: Visit, frame: int, threshold: float) -> tuple[Any, ...]:
        """Return the anchor with its point marked, the frame with the point's attention, and its share on the object."""
        if not self.network.diffuses:
            return (gr.skip(),) * 3
        segmentation = _corrections(visit).segmentation
        picture, inside = segmentation.attention(frame, *visit.point, threshold)
        folder = visit.new_folder(visit.shown, "attention")
        write_png(folder / "anchor.png", _mark(segmentation.frame(0).image, *visit.point))
        write_png(folder / "frame.png", picture)
        share = f"{100 * inside:.0f} % of this pixel's attention is on the object in frame {frame}."
        return folder / "anchor.png", folder / "frame.png", share

    def _device(self) -> str:
        device = self.network.model.device
        return torch.cuda.get_device_name(device) if device.type == "cuda" else f"the {device.type.upper()}"

    def _describe(self, predicted: Predicted, source: VideoSource) -> str:
        rate = predicted.segmented / max(predicted.seconds, 0.01)
        described = f"**{source.name}**: {predicted.frames} frames in {predicted.seconds:.1f} s, {rate:.1f} a second, on {self._device()}."
        return f"{described}\n\n⚠️ {_problem(predicted, source)}" if predicted.problem else described


def _waiting(visit: Visit, source: VideoSource) -> tuple[Any, ...]:
    visit.source, visit.corrections = source, None
    return f"**{source.name}**", gr.Column(visible=False)


def _corrections(visit: Visit) -> Corrections:
    if visit.corrections is None:
        raise UserError("another video has been dropped in the meantime")
    return visit.corrections


def _edit(visit: Visit, index: int, threshold: float) -> tuple[Any, ...]:
    corrections = _corrections(visit)
    names = ", ".join(corrections.masks())
    shown = corrections.show(int(index), threshold, visit.new_folder(visit.shown, "brush"))
    return shown, f"Corrected frames: {names}." if names else ""


def _draw(visit: Visit, segmentation: Segmentation, kind: str, threshold: float) -> tuple[Path, ...]:
    folder = visit.new_folder(visit.shown, kind)
    segmentation.draw(threshold, folder)
    return folder / "overlay.mp4", folder / "masks.zip", folder / "overlay.mp4"


def _problem(predicted: Predicted, source: VideoSource) -> str:
    """Describe what is wrong with a video, without revealing its folder."""
    problem = predicted.problem or "no frames"
    return problem.replace(f"{source.path.parent}/", "") if isinstance(source, VideoFile) else problem


def _mark(image: Frame, x: int, y: int) -> Frame:
    drawn = Image.fromarray(image)
    radius = max(4, round(min(drawn.size) / 40))
    for colour, width in (("black", radius), ("white", radius // 2)):
        ImageDraw.Draw(drawn).circle((x, y), radius + width // 2, outline=colour, width=width)
    return np.asarray(drawn)


@contextmanager
def _errors_on_page() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        raise gr.Error(str(error), print_exception=False) from error
