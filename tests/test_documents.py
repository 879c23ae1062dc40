"""What the documents tell a reader to type runs or composes, and their links lead somewhere."""

from __future__ import annotations

import json
import logging
import re
import subprocess
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import hydra
import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from videos import pictures, write_video

from adnet.data import folder, read_mask, write_mask
from adnet.data.datamodule import PairDataModule
from adnet.shared.check_config import check_config
from adnet.shared.command import conf_dir

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    "README.md",
    *(str(path.relative_to(ROOT)) for path in [*ROOT.glob("docs/**/*.md"), *ROOT.glob("experiments/*/*.md")]),
]
SHELL = r"""
set -eu
PATH=
make() { :; }
wandb() { :; }
pip() { :; }
srun() { "$@"; }
torchrun() {
  while [ "$1" != -m ]; do case "$1" in --nproc-per-node=*) set -- "$@" trainer.devices="${1#*=}";; esac; shift; done
  python "$@"
}
python() { if [ "$1" = -m ]; then shift; printf '%s\t' "$@"; echo; fi; }
"""
"""What says, in place of running it, which words a command of ours is given."""

PARTS = (("decode", "resize"), ("flow",), ("embed",), ("fusion",), ("upsample", "post-process"), ("write",), ("frame",))
"""Stages of the benchmark, as the page on speed has them in columns, `flow` if the network takes it."""


def blocks(document: str, language: str) -> list[str]:
    text = (ROOT / document).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands(document: str) -> list[list[str]]:
    """What each `python -m adnet.NAME` of a document is given, as the shell hands it over: `[["adnet.NAME", word, ...], ...]`."""
    script = SHELL + "\n".join(blocks(document, "sh"))
    ended = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
    return [line.split("\t")[:-1] for line in ended.stdout.splitlines() if line.startswith("adnet.")]


@pytest.fixture
def with_what_examples_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_davis: Path) -> Path:
    """A working directory with a video, frames, DAVIS, and masks of another method, by the names that documents give them."""
    from PIL import Image

    write_video(tmp_path / "video.mp4", pictures(3))
    (tmp_path / "frames").mkdir()
    for index, image in enumerate(pictures(6)):
        Image.fromarray(image).save(tmp_path / "frames" / f"{index:05d}.png")
    write_mask(tmp_path / "corrected" / "00002.png", np.eye(48, 80, dtype=bool))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "DAVIS").symlink_to(tiny_davis)
    (tmp_path / "DIR").symlink_to(tiny_davis / "Annotations" / "480p")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("document", [document for document in DOCUMENTS if blocks(document, "python")])
def test_examples_work_when_pasted(
    document: str, with_what_examples_name: Path, exported: Callable[[str], Path]
) -> None:
    if document == "docs/how_to/export.md":
        (with_what_examples_name / "INT8").symlink_to(exported("openvino"))
    names: dict[str, Any] = {"__name__": "__main__"}
    for example in blocks(document, "python"):
        assert len(example.splitlines()) <= 12
        code = compile(example, document, "exec")
        if (
            "OWNER/NAME" not in example and "torch.hub" not in example
        ):  # of those, tests/models/test_hub.py runs the calls
            exec(code, names)
    if document == "docs/how_to/python.md":
        masks = sorted((with_what_examples_name / "masks").glob("*.png"))
        assert [read_mask(path).shape for path in masks] == 3 * [(48, 80)]
        assert names["attention"].sum() == pytest.approx(1)
        assert names["mask"].shape == (480, 640)
    if document == "docs/how_to/own_videos.md":
        assert len(list(with_what_examples_name.glob("mine/frames/video/*.png"))) == 3
    if document == "docs/how_to/score_another_method.md":
        assert names["scores"]["mean"]["J"]["mean"] == 1


@pytest.mark.slow
def test_the_road_from_a_cvat_export(run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command on COCO files of the page does what it says; the training is a shorter one."""
    from PIL import Image

    monkeypatch.setenv("ADNET_CACHE", str(tmp_path / "cache"))
    write_video(Path("video.mp4"), pictures(4))
    names = [f"{clip}frame_{number:06d}.PNG" for clip in ("", "other/") for number in range(4)]
    content = {
        "images": [{"id": i, "file_name": name, "height": 48, "width": 80} for i, name in enumerate(names)],
        "categories": [{"id": 1, "name": "dog"}],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 1, "segmentation": [[20, 10, 60, 10, 60, 40]]} for i in (0, 2, 4, 5)
        ],
    }
    for clip in ("video", "other"):
        Path("export/frames", clip).mkdir(parents=True)
        for number, image in enumerate(pictures(4)):
            Image.fromarray(image).save(Path("export/frames", clip, f"{number:05d}.png"))
    Path("export/train.txt").write_text("video\n")
    Path("export/val.txt").write_text("other\n")
    Path("export/video.json").write_text(json.dumps(content))
    page = [words for words in commands("docs/how_to/own_videos.md") if "data=coco" in words or "rle=true" in words]
    assert [words[0] for words in page] == [
        f"adnet.{name}" for name in ("evaluate", "train", "convert", "predict", "score")
    ]
    shorter = ["scale=smoke", "steps=1", "model.encoder.pretrained=false", "trainer.accelerator=cpu", "pairs.workers=0"]
    shorter.append("model.encoder.backbone=test_efficientnet")
    for module, *words in page:
        ended = run(import_module(module).main, *words, *(shorter if module == "adnet.train" else ()))
        assert ended.code == 0, ended.err
    assert {
        name: row["frames"] for name, row in json.loads(Path("on-export/scores.json").read_text())["sequences"].items()
    } == {
        "other": ["00000", "00001"],
        "video": ["00000", "00002"],
    }
    assert [*json.loads(Path("rle.json").read_text())["sequences"]] == ["video"]
    copied = folder("mine-from-coco")
    assert {sequence.name: [*sequence.annotations] for sequence in copied.sequences} == {
        "other": ["00000", "00001"],
        "video": ["00000", "00002"],
    }


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_is_run_or_composed(document: str) -> None:
    """Or is no code: a layout, a formula, output. Nothing that looks like a command stands where it isn't composed."""
    text = (ROOT / document).read_text()
    fences = re.findall(r"^```([^\n]*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    assert {language for language, _ in fences} <= {"sh", "python", "json", "text", "mermaid"}
    for language, block in fences:
        if language == "json":
            json.loads(block)
    rest = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    unchecked = [block for language, block in fences if language == "text"]
    unchecked += re.findall(r"^\n((?:    .*\n)+)", rest, flags=re.MULTILINE)
    assert not [block for block in unchecked if re.search(r"python|\bimport\b|\bpip\b", block)]


MADE = {
    ROOT / "docs" / "reference" / f"{name}.md" for name in ("commands", "groups", "default_config", "models", "files")
}
"""Pages that are made when the site is built."""

LINK = re.compile(r"!?\[(?:`[^`\n]*`|[^\]`])*\]\(([^)\s]+)\)")


def anchors(text: str) -> set[str]:
    """The anchors of a document's headings, as MkDocs and forges make them."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", [*DOCUMENTS, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_lead_somewhere(document: str) -> None:
    """Of other sites the form alone is looked at: nothing is asked."""
    text = (ROOT / document).read_text()
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    broken = []
    for link in LINK.findall(prose):
        if ":" in link:
            address = urlsplit(link)
            if address.scheme not in ("http", "https") or "." not in address.netloc:
                broken.append(link)
            continue
        path, _, anchor = link.partition("#")
        target = ((ROOT / document).parent / path).resolve() if path else ROOT / document
        if target in MADE:  # the strict build looks at anchors there
            continue
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_compose(document: str) -> None:
    for module, *words in commands(document):
        name = module.removeprefix("adnet.")
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            parser = OverridesParser.create(GlobalHydra.instance().config_loader())
            overrides = parser.parse_overrides([word for word in words if not word.startswith("-")])
            if "-m" in words:
                # The first job of a sweep.
                overrides = [
                    parser.parse_override(f"{one.get_key_element()}={next(one.sweep_string_iterator())}")
                    if one.is_sweep_override()
                    else one
                    for one in overrides
                ]
            cfg = hydra.compose(name, [str(one.input_line) for one in overrides])
            check_config(cfg, name)
            if name == "train":
                check_batch(cfg, words)


def check_batch(cfg: Any, words: list[str]) -> None:
    """The devices that a command is given, by itself or by what starts it, can share its pairs."""
    devices = cfg.trainer.devices
    if devices == "auto":
        (devices,) = (int(word.split("=")[1]) for word in words if word.startswith("hydra.sweeper.gpus_per_job="))
    data: Any = SimpleNamespace(batch_size=cfg.pairs.batch_size)
    world = devices * cfg.trainer.get("num_nodes", 1)
    assert PairDataModule.device_batch_size(data, world, cfg.trainer.accumulate_grad_batches) >= 1


def test_documents_have_commands() -> None:
    given = [module for document in DOCUMENTS for module, *_ in commands(document)]
    assert {f"adnet.{path.stem}" for path in conf_dir().glob("*.yaml")} <= set(given)


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_asks_nobody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    monkeypatch.chdir(ROOT)
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(tmp_path / "site"))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)  # as `mkdocs build`, but in a process that has imported PyTorch already
    config.plugins.on_shutdown()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []
    pages = list((tmp_path / "site").rglob("*.html"))
    assert {"index.html", "commands.html", "groups.html", "models.html", "files.html"} <= {page.name for page in pages}
    loaded = re.compile(
        r"""<(?:script|img|iframe)[^>]*\ssrc=["']?(?:https?:)?//|<link[^>]*(?:stylesheet|preconnect|icon)[^>]*//"""
    )
    assert [page.name for page in pages if loaded.search(page.read_text())] == []
    options = (tmp_path / "site" / "reference" / "commands.html").read_text()
    assert all(f'id="{path.stem}"' in options for path in conf_dir().glob("*.yaml"))
    defaults = (tmp_path / "site" / "reference" / "default_config.html").read_text()
    assert all(
        f"<code>{option}</code>" in defaults for option in ("data.split", "model.decoder", "pairs.anchor", "seed")
    )


@pytest.mark.parametrize(
    "result", [f"inference{network}{machine}" for network in ("", "-lite", "-released") for machine in ("", "-amx")]
)
def test_the_speed_of_each_part_is_what_was_measured(result: str) -> None:
    page = (ROOT / "docs" / "explanation" / "speed.md").read_text()
    table = page[page.index(f"(`{result}.json`)") :].split("\n\n")[1].splitlines()[2:]
    measured = json.loads((ROOT / "experiments" / "speed" / f"{result}.json").read_text())["ways"]
    rows = []
    for way in measured.values():
        seconds, overlapped = way["seconds"], way.get("overlapped_frames_per_second")
        taken = [sum(seconds.get(stage, 0) for stage in stages) for stages in PARTS]
        rows.append([f"{1000 * part:,.1f}" for part in taken if part])
        if "overlapped_frames_per_second" in way:
            rows[-1].append(f"{overlapped:.1f}" if overlapped else "-")
    assert [[cell.strip() for cell in row.split("|")[2:-1]] for row in table] == rows


def test_every_dataset_has_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "hooks")
    from datasets_page import on_page_markdown

    source = (ROOT / "docs" / "reference" / "datasets.md").read_text()
    page = on_page_markdown(source, None, None, None)
    names = [path.stem for path in conf_dir().glob("data/*.yaml") if not path.stem.startswith("synthetic_")]
    rows = [row for row in page.splitlines() if row.startswith("| `")]
    assert sorted(row.split("`")[1] for row in rows if "`data=`" not in row) == sorted(2 * names)
    assert {row.count(" |") for row in rows} == {3, 5}
    assert (
        "10,553 in `train`, 5,019 in `test` (or `val`). | take DUTS-TR and DUTS-TE from <http://saliencydetection.net/duts> |"
        in page
    )
