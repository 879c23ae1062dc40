"""The page as visitors meet it: in a real browser, and by requests that no browser would make."""

from __future__ import annotations

import fnmatch
import os
import re
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import ZipFile

import numpy as np
import pytest
import requests
import torch
from chromium import chromium
from PIL import Image
from videos import InstantModel, pictures, write_video

from adnet.app.__main__ import main
from adnet.app.segmentation import Network
from adnet.backends.runtime import for_inference
from adnet.data.coco_dataset import coco
from adnet.data.datasets import folder
from adnet.data.synthetic import synthesize
from adnet.inference.protocol import Protocol
from adnet.metrics import region_similarity
from adnet.models import ADNet
from adnet.models.checkpoint import load_checkpoint, write_checkpoint
from adnet.video.sources import VideoSource, video_sources

pytestmark = pytest.mark.skipif(not find_spec("gradio"), reason="needs gradio")  # imported where the page is made

FRAMES = 12
"""The most that this page takes of a video."""


PATIENCE = 100  # seconds; a busy machine is not a failure


class Server(NamedTuple):
    url: str
    root: Path
    model: Any
    blocks: Any

    def files(self, name: str = "*") -> list[Path]:
        """What is on disk, but for what belongs to no visitor."""
        return [
            Path(folder, file)
            for part in ("private", "shown", "uploads")
            for folder, _, files in os.walk(self.root / part)  # Path.rglob fails if a folder is removed meanwhile
            for file in fnmatch.filter(files, name)
        ]


def page(root: Path, model: Any, examples: list[VideoSource], checkpoint: Path | None = None) -> Any:
    from adnet.app.page import Limits, Page

    network = Network(model, Protocol("single_scale"), (97, 161) if checkpoint else (33, 57), checkpoint)
    return Page(network, Limits(1, FRAMES, 0.1, 5), examples, root)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root, model = tmp_path_factory.mktemp("app"), InstantModel()
    synthetic = synthesize(root / "synthetic", train=0, val=2, frames=3, size=(48, 80))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(root / "uploads"))
        blocks = page(root, model, video_sources(f"{synthetic}/JPEGImages/480p/*")).launch("127.0.0.1", None)
        yield Server(blocks.local_url, root, model, blocks)
        blocks.close(verbose=False)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture
def teachable(tmp_path: Path, tiny_model_config: dict[str, Any]) -> Iterator[Server]:
    """A page whose network is tiny, knows nothing, and can learn, for which timm's smallest ResNet has too few features."""
    torch.manual_seed(0)
    encoder = tiny_model_config["encoder"] | {"backbone": "resnet10t"}
    model = ADNet.from_config(tiny_model_config | {"encoder": encoder})
    write_checkpoint(tmp_path / "tiny.ckpt", model, (97, 161))
    root = tmp_path / "app"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(root / "uploads"))
        served = page(root, for_inference(model), [], tmp_path / "tiny.ckpt").launch("127.0.0.1", None)
        yield Server(served.local_url, root, model, served)
        served.close(verbose=False)


@pytest.fixture
def visit(browser: Any, server: Server) -> Iterator[Callable[..., Any]]:
    """Open the page as another visitor; in the end nobody but the page's own server was asked for anything."""
    contexts, asked, errors = [], list[str](), list[str]()
    servers = {server.url}

    def opened(server: Server = server) -> Any:
        servers.add(server.url)
        contexts.append(browser.new_context(viewport={"width": 1200, "height": 1000}))
        contexts[-1].set_default_timeout(PATIENCE * 1000)
        tab = contexts[-1].new_page()
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.goto(server.url)
        tab.wait_for_selector("#upload input[type=file]", state="attached")
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith((*servers, "data:", "blob:"))] == []
    assert errors == []


def drop(tab: Any, path: Path, said: str) -> str:
    """Upload a video; what the page says when it is done."""
    tab.set_input_files("#upload input[type=file]", path)
    status = tab.locator("#status [data-testid=markdown]")
    status.filter(has_text=said).wait_for()
    return str(status.inner_text())


def source(tab: Any, selector: str) -> str:
    return str(tab.locator(selector).first.evaluate("element => element.currentSrc || element.src"))


def downloaded(tab: Any, selector: str) -> bytes:
    with tab.expect_download() as waiting:
        tab.locator(selector).click()
    return Path(waiting.value.path()).read_bytes()


def masks(archive: bytes) -> np.ndarray:
    """Bool `[frames, H, W]`."""
    with ZipFile(BytesIO(archive)) as opened:
        images = [np.asarray(Image.open(opened.open(name))) for name in opened.namelist()]
    assert set(np.unique(images)) <= {0, 255}
    return np.stack(images) > 0


def until(condition: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.slow
def test_a_video_is_dropped_drawn_anew_and_downloaded(visit: Any, server: Server, tmp_path: Path) -> None:
    tab = visit()
    said = drop(tab, write_video(tmp_path / "clip.mp4", pictures(6)), "a second")
    assert said.startswith("clip: 6 frames in ")
    assert said.endswith(" a second, on the CPU.")
    tab.wait_for_function("document.querySelector('#overlay video')?.videoWidth === 80")
    before, many, embedded = source(tab, "#overlay video"), masks(downloaded(tab, "#masks")), len(server.model.batches)
    assert many.shape == (6, 48, 80)

    # The end of the slider: hardly anything is as probable.
    slider = tab.locator("#threshold input[type=range]")
    box = slider.bounding_box()
    slider.click(position={"x": 0.97 * box["width"], "y": box["height"] / 2})
    until(lambda: source(tab, "#overlay video") != before)
    few = masks(downloaded(tab, "#masks"))
    assert few.shape == many.shape
    assert few.sum() < many.sum()
    assert not (few & ~many).any()
    assert len(server.model.batches) == embedded  # the network was not asked again
    assert downloaded(tab, "#video")[4:8] == b"ftyp"

    # Another one in its place.
    said = drop(tab, write_video(tmp_path / "next.mp4", pictures(2)), "next: 2 frames")
    assert len(server.files("*.mp4")) == 2  # the upload and its overlay


@pytest.mark.slow
def test_a_click_on_the_anchor_shows_what_it_attends_to(visit: Any, tmp_path: Path) -> None:
    tab = visit()
    drop(tab, write_video(tmp_path / "clip.mp4", pictures(4)), "a second")
    share = tab.locator("#share [data-testid=markdown]")
    share.filter(has_text="on the object in frame 3.").wait_for()
    tab.wait_for_function("document.querySelector('#anchor img')?.naturalWidth === 80")
    before = [source(tab, f"#{name} img") for name in ("anchor", "attention")]
    # At a quarter of its width and height; it is shown as large as it is.
    tab.locator("#anchor img").click(position={"x": 20, "y": 12})
    until(lambda: not {*before} & {source(tab, f"#{name} img") for name in ("anchor", "attention")})
    marked = np.asarray(Image.open(BytesIO(requests.get(source(tab, "#anchor img"), timeout=9).content)))
    assert (marked.min(axis=-1) > 250).any()  # the ring
    place = np.argwhere(marked.min(axis=-1) > 250).mean(axis=0)
    np.testing.assert_allclose(place, (12, 20), atol=1.5)

    # Another frame, at the same pixel.
    tab.locator("#frame input[type=number]").fill("1")
    tab.locator("#frame input[type=number]").press("Enter")
    tab.locator("#frame input[type=number]").blur()
    share.filter(has_text="in frame 1.").wait_for()


@pytest.mark.slow
def test_an_example_is_chosen(visit: Any) -> None:
    tab = visit()
    tab.locator("#examples button.thumbnail-item").nth(1).click()
    tab.locator("#status", has_text="val-001: 3 frames").wait_for()
    tab.wait_for_function("document.querySelector('#overlay video')?.videoWidth === 80")


@pytest.mark.slow
def test_damaged_long_and_large_videos_are_said_to_be_so(visit: Any, server: Server, tmp_path: Path) -> None:
    tab = visit()
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(b"no video")
    said = drop(tab, damaged, "cannot read")
    assert said == "⚠️ cannot read the video damaged.mp4: Invalid data found when processing input"
    assert not tab.locator("#overlay").is_visible()
    said = drop(tab, write_video(tmp_path / "long.mp4", pictures(FRAMES + 3)), "long: ")
    assert f"long: {FRAMES} frames in " in said
    assert f"long is longer than the {FRAMES} frames allowed here (max_frames)" in said
    assert masks(downloaded(tab, "#masks")).shape[0] == FRAMES
    said = drop(tab, write_video(tmp_path / "wide.mp4", pictures(1, (400, 600))), "megapixels")
    assert "wide has frames of 600 x 400, 0.2 megapixels; at most 0.1 are allowed here" in said
    # A file that is too large never gets here.
    heavy = tmp_path / "heavy.mp4"
    heavy.write_bytes(bytes(1_100_000))
    tab.set_input_files("#upload input[type=file]", heavy)
    tab.get_by_text("exceed the maximum allowed size of 1.0 Mb").first.wait_for()
    assert not server.files("heavy.mp4")


@pytest.mark.slow
def test_two_visitors_share_nothing_and_leave_nothing(visit: Any, server: Server, tmp_path: Path) -> None:
    until(lambda: not server.files())  # of the tests before
    clips = [write_video(tmp_path / f"{number}.mp4", pictures(number)) for number in (3, 5)]
    first, second = visit(), visit()
    for tab, clip in zip((first, second), clips, strict=True):
        tab.set_input_files("#upload input[type=file]", clip)
    for tab, number in ((first, 3), (second, 5)):
        tab.locator("#status", has_text=f"{number}: {number} frames").wait_for()
        assert len(masks(downloaded(tab, "#masks"))) == number
    folders = [Path(source(tab, "#overlay video").partition("file=")[2]).parents[1] for tab in (first, second)]
    assert folders[0] != folders[1]
    assert all(folder.is_dir() for folder in folders)
    first.close()
    until(lambda: not folders[0].exists())
    assert len(server.files("masks.zip")) == 1
    assert len(masks(downloaded(second, "#masks"))) == 5
    second.close()
    until(lambda: not server.files())


def disc(index: int) -> np.ndarray:
    """The object of the video to correct: bool `[240, 400]`."""
    rows, columns = np.mgrid[:240, :400]
    return (columns - 100 - 40 * index) ** 2 + (rows - 120) ** 2 < 30**2


def write_disc_video(path: Path) -> Path:
    return write_video(
        path, [np.where(disc(index)[..., None], [250, 200, 40], [40, 60, 90]).astype(np.uint8) for index in range(6)]
    )


def mean_j(archive: bytes) -> float:
    """Of the frames that nobody corrects."""
    made = masks(archive)
    return float(np.mean([region_similarity(made[index], disc(index)) for index in (1, 2, 3, 4)]))


def show_frame(tab: Any, index: int) -> None:
    before = source(tab, "#brush img")
    tab.locator("#corrected input[type=number]").fill(str(index))
    tab.locator("#corrected input[type=number]").press("Enter")
    tab.locator("#corrected input[type=number]").blur()
    until(lambda: source(tab, "#brush img") != before)


def draw_disc(tab: Any, index: int) -> None:
    """Draw it by one dot, as wide as it is."""
    tab.wait_for_function("document.querySelector('#brush canvas')?.width === 400")
    canvas = tab.locator("#brush canvas")
    scale = canvas.bounding_box()["width"] / 400
    tab.locator("#brush [name=clear]").click()
    tab.locator("#brush [name=width]").fill(str(round(60 * scale)))
    canvas.click(position={"x": (100 + 40 * index) * scale, "y": 120 * scale})


@pytest.mark.slow
def test_a_network_learns_what_is_drawn(visit: Any, teachable: Server, tmp_path: Path) -> None:
    tab = visit(teachable)
    drop(tab, write_disc_video(tmp_path / "clip.mp4"), "a second")
    before = mean_j(downloaded(tab, "#masks"))
    draw_disc(tab, 0)
    show_frame(tab, 5)
    tab.locator("#told", has_text="Corrected frames: 00000.").wait_for()
    draw_disc(tab, 5)
    tab.locator("#learn").click()
    tab.locator("#told", has_text="s left").wait_for()
    tab.locator("#told", has_text="Corrected frames: 00000, 00005.").wait_for()
    tab.wait_for_function("document.querySelector('#after video')?.videoWidth === 400")
    assert source(tab, "#before video") == source(tab, "#overlay video") != source(tab, "#after video")
    assert mean_j(downloaded(tab, "#better-masks")) > before + 0.3
    assert downloaded(tab, "#better-video")[4:8] == b"ftyp"

    (tmp_path / "adapted.ckpt").write_bytes(downloaded(tab, "#weights"))
    network, size = load_checkpoint(tmp_path / "adapted.ckpt")
    assert size == (97, 161)
    assert not torch.equal(network.head[0].weight, teachable.model.head[0].weight)
    with ZipFile(BytesIO(downloaded(tab, "#dataset"))) as archive:
        archive.extractall(tmp_path / "corrected")
    for dataset in (folder(tmp_path / "corrected"), coco(tmp_path / "corrected")):
        (sequence,) = dataset.sequences
        assert [frame.stem for frame in sequence.frames] == ["00000", "00005"]
        for index, frame in zip((0, 5), sequence.frames, strict=True):
            assert region_similarity(sequence.annotation(frame), disc(index)) > 0.95

    # On a phone, one below the other, none wider than the screen, and no empty space around a wide video.
    side_by_side = [tab.locator(f"#{name}").bounding_box() for name in ("before", "after")]
    assert side_by_side[0]["x"] + side_by_side[0]["width"] <= side_by_side[1]["x"]
    tab.set_viewport_size({"width": 390, "height": 800})
    until(lambda: tab.locator("#before").bounding_box()["width"] < 390)
    boxes = [tab.locator(f"#{name}").bounding_box() for name in ("overlay", "brush", "before", "after")]
    assert all(box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] < 390 for box in boxes)
    assert boxes[2]["y"] + boxes[2]["height"] <= boxes[3]["y"]
    assert tab.evaluate("document.documentElement.scrollWidth") == 390

    # It goes with its visitor.
    tab.close()
    until(lambda: not teachable.files())


def test_one_job_runs_at_a_time_and_the_queue_is_bounded(server: Server) -> None:
    jobs = [function for function in server.blocks.fns.values() if function.queue is not False and function.inputs]
    assert len(jobs) > 3
    assert {(job.concurrency_limit, job.concurrency_id) for job in jobs} == {(1, "one at a time")}
    assert server.blocks._queue.max_size == 5


def test_no_file_of_the_server_can_be_read(server: Server) -> None:
    secret = server.root / "private" / "secret.txt"
    secret.parent.mkdir(exist_ok=True)
    secret.write_text("hush")
    here = Path(__file__)
    paths = [
        "/etc/passwd",
        "//etc/passwd",
        "%2Fetc%2Fpasswd",
        "../../../../../../../etc/passwd",
        str(here),
        str(secret),
    ]
    paths += [f"{server.root}/shown/../private/secret.txt", f"{server.root}/uploads/../../../../../../etc/passwd"]
    paths += [f"{server.root}/shown/%2e%2e/private/secret.txt", "file:///etc/passwd", str(server.root / "private")]
    for path in paths:
        for route in ("gradio_api/file=", "file=", "gradio_api/file/"):
            # requests would tidy the dots up.
            prepared = requests.Request("GET", server.url).prepare()
            prepared.url = f"{server.url}{route}{path}"
            answer = requests.Session().send(prepared, timeout=9)
            assert answer.status_code in (403, 404), prepared.url
            assert "hush" not in answer.text
            assert "root:" not in answer.text
    secret.unlink()


def test_no_file_of_the_server_can_be_handed_in(server: Server, tmp_path: Path) -> None:
    """As if it were an upload: that one would be moved into the visitor's folder."""
    victim, honest = (write_video(tmp_path / f"{name}.mp4", pictures(1)) for name in ("victim", "honest"))

    def hand_in(path: str, *routes: str) -> None:
        for dependency in requests.get(f"{server.url}config", timeout=PATIENCE).json()["dependencies"]:
            file = {"path": path, "meta": {"_type": "gradio.FileData"}}
            body = {
                "data": [file] * len(dependency["inputs"]),
                "fn_index": dependency["id"],
                "session_hash": "intruder",
            }
            for route in routes:
                requests.post(f"{server.url}gradio_api/{route}", json=body, timeout=PATIENCE)

    hand_in(str(victim), "queue/join", "run/predict", "api/predict", "call/_keep", "api/_keep")
    # What was uploaded gets through, so the other has been refused by now.
    with honest.open("rb") as stream:
        answer = requests.post(f"{server.url}gradio_api/upload", files={"files": stream}, timeout=PATIENCE)
    hand_in(answer.json()[0], "run/predict")
    until(lambda: server.files("honest.mp4"))
    assert victim.exists()
    assert not server.files("victim.mp4")
    # The browser's sign of life, and its end.
    requests.get(f"{server.url}gradio_api/heartbeat/intruder", stream=True, timeout=PATIENCE).close()
    until(lambda: not server.files())


def test_the_page_shows_attention_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    shown = {}
    for variant in ("full", "cross"):
        model = InstantModel()
        model.variant = variant
        components = page(tmp_path, model, [])._blocks().get_config_file()["components"]
        props = {component["props"].get("elem_id"): component["props"] for component in components}
        shown[variant] = props["explained"]["visible"]
        assert props["examples"]["visible"] is False
    assert shown == {"full": True, "cross": False}


def test_it_serves_until_it_is_told_to_stop_and_leaves_nothing(
    run: Callable[..., Any], tmp_path: Path, tiny_model: ADNet, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As the first import of it would: it asks for its folder then.
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "gradio"))
    import gradio

    (folder := tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    write_checkpoint(checkpoint := tmp_path / "last.ckpt", tiny_model, (33, 57))
    seen = []

    def stopped(blocks: Any) -> None:
        config = requests.get(f"{blocks.local_url}config", timeout=60).json()
        seen.extend(
            [
                blocks.local_url,
                config["analytics_enabled"],
                blocks.share,
                sorted(path.name[:10] for path in folder.iterdir()),
            ]
        )
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(gradio.Blocks, "block_thread", stopped)
    ended = run(main, f"checkpoint={checkpoint}", "examples=1", "device=cpu")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == f"{seen[0]} until Ctrl-C\n"
    assert seen[0].startswith("http://127.0.0.1:")
    assert seen[1:] == [False, False, ["adnet-app-"]]
    assert not any(folder.iterdir())
    with pytest.raises(requests.ConnectionError):
        requests.get(seen[0], timeout=9)


def test_an_address_that_there_is_not_is_one_line(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    ended = run(main, "host=" + 300 * "a", "examples=0", "device=cpu")
    assert ended.code == 1
    [line] = ended.err.splitlines()
    assert re.match(r"adnet: host=a+: no such address \(.*\); give 127\.0\.0\.1, or leave it out$", line)
