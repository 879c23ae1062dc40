"""Commands on inputs so small that each takes a moment, in a folder that is the same for every test and made anew for each."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from published_weights import shapes
from videos import pictures, write_video

from adnet.data import davis2016
from adnet.data.synthetic import synthesize
from adnet.metrics import score_dataset
from adnet.models import ADNet
from adnet.weights.pretrained import write_pretrained

SIZE = (33, 57)
NETWORK = {
    "_target_": "adnet.models.ADNet",
    "_convert_": "all",
    "variant": "full",
    "encoder": {
        "_target_": "adnet.models.DeepLabV3",
        "backbone": "test_resnet",
        "pretrained": False,
        "aspp_rates": [1, 2, 3],
        "aspp_channels": 8,
        "embedding_channels": 8,
    },
    "head_channels": 8,
}

COMMANDS = {
    "score": ["predictions=masks", "data.root=davis", "output=out/scores.json", "workers=1"],
    "evaluate": ["checkpoint=last.ckpt", "data.root=davis", "protocol=single_scale", "device=cpu", "output=out"],
    "predict": ["checkpoint=last.ckpt", "input=clip", "device=cpu", "output=out"],
    "export": ["checkpoint=last.ckpt", "format=safetensors", "output=out"],
    "report": ["runs=runs", "output=out", "strip_sequences=1", "strip_frames=2"],
    "benchmark": [
        "what=inference",
        "data.root=davis",
        "inference.checkpoint=last.ckpt",
        "inference.backends=[torch]",
        "inference.frames=1",
        "output=out/speed.json",
    ],
    "dashboard": ["output=out/dashboard.json"],
    "convert": ["checkpoint=published.pth", "variant=full", "output=out/full.ckpt"],
    "download": ["data=synthetic", "data.root=davis"],
    "app": ["checkpoint=last.ckpt", "device=cpu"],
    "train": [
        "scale=smoke",
        "optim=sgd",
        "model.encoder.pretrained=false",
        "model.encoder.backbone=test_efficientnet",
        "model.encoder.aspp_channels=8",
        "model.encoder.embedding_channels=8",
        "model.head_channels=8",
        "trainer.accelerator=cpu",
        "pairs.workers=0",
        "pairs.batch_size=2",
        "pairs.val_frames=1",
        "pairs.augmentation.crop_size=[33,57]",
        "test_size=[33,57]",
        "test_at_end=false",
        "steps=2",
        "epoch_steps=1",
        "~callbacks.progress",
        "+trainer.enable_progress_bar=false",
        "data.root=davis",
        "hydra.run.dir=out",
    ],
}
"""By their names, the shortest arguments with which they end well; all write into `out`."""


class Answer(NamedTuple):
    """How a command answered; `left` is whether it left anything new or changed in the folder."""

    code: int
    line: str
    left: bool


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """What the commands read; beside it is the folder that they are run in."""
    with TemporaryDirectory(prefix="adnet-bad-input-") as folder:
        Path(folder).chmod(0o755)  # pytest's own are private to their owner, and not every command is run by that
        yield _filled(Path(folder) / "template")


def _filled(root: Path) -> Path:
    synthesize(root / "davis", train=2, val=2, frames=3, size=SIZE)
    (root / "davis" / "db_info.yml").write_text(
        "sequences:\n- {name: val-000, attributes: [OCC, FM]}\n- {name: val-001, attributes: []}\n"
    )
    for name in ("masks", "clip", "flow/clip", "maps"):
        (root / name).mkdir(parents=True)
    for sequence in ("val-000", "val-001"):
        shutil.copytree(root / "davis/Annotations/480p" / sequence, root / "masks" / sequence)
        (root / "maps" / sequence).mkdir()
        for file in sorted((root / "masks" / sequence).iterdir()):
            mask = np.asarray(Image.open(file))
            np.save(root / "maps" / sequence / f"{file.stem}.npy", (mask / 255 * 0.9).astype(np.float32))
    for index, picture in enumerate(pictures(3, SIZE)):
        Image.fromarray(picture).save(root / "clip" / f"{index}.{('png', 'jpg', 'bmp')[index]}")
        if index:
            cv2.writeOpticalFlow(str(root / "flow/clip" / f"{index}.flo"), np.full((*SIZE, 2), 2.0, np.float32))
    write_video(root / "clip.mp4", pictures(3, (34, 58)))
    _write_run(root / "runs" / "full", root)
    shutil.make_archive(str(root / "davis"), "zip", root, "davis")
    # Of one number each, which stands for all of a weight.
    published = {name: torch.zeros(()).expand(shape) for name, shape in shapes("ResNet50", "ad").items()}
    torch.save(published, root / "published.pth")
    mask = {"size": [*SIZE], "counts": [40, 400, SIZE[0] * SIZE[1] - 440]}
    found = [{"image_id": f"clip/{frame}", "score": 0.9, "segmentation": mask} for frame in range(3)]
    (root / "found.json").write_text(json.dumps(found))
    for name, more in (("last", {}), ("motion", {"variant": "full_motion", "motion": NETWORK["encoder"]})):
        model, config = _network(more)
        weights = {f"model.{key}": value for key, value in model.state_dict().items()}
        torch.save(
            {"hyper_parameters": {"model": config, "test_size": [*SIZE]}, "state_dict": weights}, root / f"{name}.ckpt"
        )
    model, config = _network({})
    write_pretrained(root / "weights", config, SIZE, model.state_dict(), {})
    return root


def _write_run(folder: Path, root: Path) -> None:
    """A finished run with an evaluation of the masks; its root is relative, as a user may give it."""
    scores = score_dataset(davis2016(root / "davis", "val"), root / "masks", workers=1, protocol="single_scale")
    evaluation = folder / "evaluation" / "davis2016-val-single_scale"
    shutil.copytree(root / "masks", evaluation / "masks")
    mean = {measure: scores["mean"][measure]["mean"] for measure in ("J", "F")}
    notes = {"checkpoint": None, "dataset": "davis2016", "root": "davis", "split": "val", "size": SIZE}
    data = {"val": {"sequences": ["val-000", "val-001"], "frames": 6, "sha256": "0" * 64}}
    summary = {"variant": "full", "seed": 0, "initial": mean, "dataset": "davis2016", "steps": 2, "seconds": 1.5}
    summary |= {"parameters": 10, "git_commit": "0123456", "versions": {"adnet": "1", "torch": "2"}, "data": data}
    files = {
        evaluation / "scores.json": scores,
        evaluation / "evaluation.json": notes | {"backend": "torch", "postprocess": None},
        folder / "config.yaml": {"seed": 0, "model": NETWORK, "steps": 2, "test_size": SIZE},
        folder / "summary.json": summary | mean,
    }
    for file, content in files.items():
        file.write_text(json.dumps(content))
    (folder / "metrics.csv").write_text("epoch,step,train/loss,train/lr,val/J\n0,0,0.7,0.005,\n0,1,,,0.31\n")


def _network(more: dict[str, Any]) -> tuple[ADNet, dict[str, Any]]:
    from hydra.utils import instantiate

    torch.manual_seed(0)
    model = instantiate(NETWORK | more)
    return model.eval(), NETWORK | more


def with_usual(command: str, arguments: Sequence[str]) -> list[str]:
    """The shortest arguments of a command, and these, which replace those of the same key."""
    given = {argument.lstrip("+~").partition("=")[0] for argument in arguments}
    return [argument for argument in COMMANDS[command] if argument.partition("=")[0] not in given] + [*arguments]


class Kitchen:
    """A folder with all that commands read, in which they are run."""

    def __init__(self, folder: Path, run: Callable[..., Any]) -> None:
        self.folder, self._run = folder, run
        self.around: Callable[[], AbstractContextManager[None]] = nullcontext
        """What a command is run in."""

    def call(self, command: str, *arguments: str) -> Answer:
        """Run a command with its shortest arguments and these, and look whether it answered as a command must."""
        before = contents(self.folder)
        module = import_module(f"adnet.{command}")
        main = (module if hasattr(module, "main") else import_module(f"adnet.{command}.__main__")).main
        with self.around():
            ended = self._run(main, *with_usual(command, arguments))
        assert ended.code in (0, 1), ended.err
        assert "Traceback" not in ended.err
        lines = [line for line in ended.err.splitlines() if line.startswith("adnet: ")]
        assert len(lines) == ended.code, ended.err
        if lines:
            assert lines == ended.err.splitlines()[-1:]
        after = contents(self.folder)
        assert_whole(self.folder, {name: content for name, content in after.items() if content != before.get(name)})
        return Answer(ended.code, ended.err if not lines else lines[0], before != after)

    def expected(self, command: str, *arguments: str) -> dict[str, bytes]:
        """What `out` holds after the command on inputs that nothing is wrong with."""
        if (command, arguments) not in EXPECTED:
            answer = self.call(command, *arguments)
            assert answer.code == 0, answer.line
            EXPECTED[command, arguments] = self.out()
            shutil.rmtree(self.folder / "out", ignore_errors=True)
        return EXPECTED[command, arguments]

    def begun(self, command: str, *arguments: str) -> None:
        """Have in `out` what the command leaves there, of a training but its summary: as if it had been cut off at its end."""
        self.expected(command, *arguments)
        for name, content in EXPECTED[command, arguments].items():
            file = self.folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        if command == "train":
            (self.folder / "out" / "summary.json").unlink()

    def out(self) -> dict[str, bytes]:
        """The files in `out`, by their paths."""
        return {name: content for name, content in contents(self.folder).items() if name.startswith("out/")}


EXPECTED: dict[tuple[str, tuple[str, ...]], dict[str, bytes]] = {}


def contents(folder: Path) -> dict[str, bytes]:
    """All files below a folder; one that has not changed is not read again."""
    found = {}
    for path in sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names):
        if path.is_file():
            now = stamp(path.stat())
            if READ.get(path, (None,))[0] != now:
                READ[path] = now, path.read_bytes()
            found[str(path.relative_to(folder))] = READ[path][1]
    return found


READ: dict[Path, tuple[tuple[int, ...], bytes]] = {}


def stamp(status: os.stat_result) -> tuple[int, ...]:
    """What changes with a file."""
    return status.st_ino, status.st_size, status.st_ctime_ns


def assert_whole(folder: Path, found: dict[str, bytes]) -> None:
    """Nothing that was written is a draft, or half of a file."""
    for name in found:
        path = folder / name
        if not name.startswith("out"):
            continue
        assert path.suffix not in (".tmp", ".draft"), f"left over: {name}"
        assert not path.name.startswith(".") or path.name.endswith("lock"), f"left over: {name}"
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
        elif path.suffix == ".ckpt":
            torch.load(path, weights_only=True)


@pytest.fixture(scope="session")
def stamps() -> dict[str, tuple[int, ...]]:
    """Of each file that was copied for a test, what changes with it."""
    return {}


@pytest.fixture
def kitchen(
    template: Path, stamps: dict[str, tuple[int, ...]], run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> Kitchen:
    folder = template.parent / "work"  # the same for all, since some results name it
    _restore(template, folder, stamps)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("ADNET_CACHE", str(folder / "cache"))
    return Kitchen(folder, run)


def _restore(template: Path, folder: Path, stamps: dict[str, tuple[int, ...]]) -> None:
    """Make `folder` a copy of `template`; what no test has changed is not copied again."""

    def copy(source: str, target: str) -> None:
        if not os.path.exists(target):  # noqa: PTH110 (a hundred files for each test)
            shutil.copy2(source, target)
            stamps[target] = stamp(os.lstat(target))

    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not (template / path.relative_to(folder)).is_dir():
                path.rmdir()
        elif stamps.get(str(path)) != stamp(path.lstat()):
            path.unlink()
    shutil.copytree(template, folder, copy_function=copy, dirs_exist_ok=True)
