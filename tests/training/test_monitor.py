"""What a training leaves in its three loggers, read back from their files."""

from __future__ import annotations

import csv
import json
import math
import signal
import struct
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Callback, ModelCheckpoint

from adnet.data import davis2016
from adnet.data.augmentation import Augmentation
from adnet.data.datamodule import PairDataModule
from adnet.errors import UserError
from adnet.inference.embeddings import write_embeddings
from adnet.shared.files import write_text
from adnet.training import SegmentationModule, monitor, poly
from adnet.training import module as training_module
from adnet.training.callbacks import GradientNorm, Pruned, Throughput
from adnet.training.ddp import effective_batch
from adnet.training.loggers import (
    MetricsFile,
    RunTensorBoard,
    RunWandb,
    finishing_wandb,
    log_config,
    log_scores,
)
from adnet.training.monitor import ValidationMonitor

SIZE = (33, 57)
SCALARS = {
    "train/loss",
    "train/lr",
    "train/lr_new_layers",
    "train/gradient_norm",
    "train/pairs_per_second",
    "train/data_wait",
    "train/memory_gib",
    "val/J",
    "val/F",
    "val/cosine_distance",
    "evaluation/J",
    "evaluation/F",
}
SCORES = {
    "mean": {"J": {"mean": 0.5}, "F": {"mean": 0.25}},
    "sequences": {
        name: {measure: {"mean": value, "recall": 1.0, "decay": 0.0} for measure in ("J", "F")}
        for name, value in (("val-000", 0.4), ("val-001", 0.6))
    },
}


class Watch(Callback):
    """The pairs, learning rates and gradient norms of each optimiser step."""

    def __init__(self) -> None:
        self.keys: list[list[int]] = []
        self.steps: list[tuple[int, float, float]] = []

    def on_train_batch_start(self, _: L.Trainer, __: L.LightningModule, batch: Any, ___: int) -> None:
        self.keys += batch["key"].tolist()

    def on_before_optimizer_step(self, trainer: L.Trainer, module: L.LightningModule, optimizer: Any) -> None:
        squares = sum(float((p.grad**2).sum()) for p in module.parameters() if p.grad is not None)
        self.steps.append((trainer.global_step, optimizer.param_groups[0]["lr"], math.sqrt(squares)))


def train(
    root: Path,
    config: dict[str, Any],
    folder: Path,
    loggers: list[Any],
    accumulated: int = 1,
    steps: int = 4,
    **options: Any,
) -> tuple[L.Trainer, SegmentationModule, Watch]:
    torch.manual_seed(0)
    optimizer = partial(torch.optim.SGD, lr=0.01)
    module = SegmentationModule(instantiate(config), optimizer, partial(poly, horizon=8), 1.0, SIZE)
    data = PairDataModule(
        davis2016(root, "train"), davis2016(root), Augmentation(SIZE), 2, batch_size=4, val_frames=2, workers=0
    )
    watch = Watch()
    save = ModelCheckpoint(folder / "checkpoints", "best", monitor="val/J", save_last=True)
    callbacks = [watch, Throughput(), GradientNorm(), ValidationMonitor(overlays=2, width=56), save]
    trainer = L.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=steps,
        max_epochs=-1,
        accumulate_grad_batches=accumulated,
        logger=loggers,
        callbacks=callbacks,
        log_every_n_steps=1,
        reload_dataloaders_every_n_epochs=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **options,
    )
    trainer.fit(module, data)
    return trainer, module, watch


def records(file: Path) -> Iterator[Any]:
    """What is in a `.wandb` file: seven bytes of header, then records in LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, place, whole = file.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield Record.FromString(whole)
            whole = b""


class Offline:
    """An offline run, read back."""

    def __init__(self, folder: Path, name: str = "offline-run-*") -> None:
        (self.file,) = (folder / "wandb").glob(f"{name}/*.wandb")
        kept: dict[str, list[Any]] = {}
        deadline = time.monotonic() + 60
        while "exit" not in kept and time.monotonic() < deadline:
            time.sleep(0.05)  # W&B's service closes the file a moment after finish() has returned
            kept = {}
            for record in records(self.file):
                kind = record.WhichOneof("record_type")
                kept.setdefault(kind, []).append(getattr(record, kind))
        (self.run,), (self.exit,) = kept["run"], kept["exit"]
        self.metrics = kept.get("metric", [])
        self.summary: dict[str, Any] = {}
        for part in kept.get("summary", []):
            for item in part.update:
                self.summary[item.key or item.nested_key[0]] = json.loads(item.value_json)
        self.artifacts = kept.get("artifact", [])
        self.config = {
            item.key: json.loads(item.value_json) for part in kept.get("config", []) for item in part.update if item.key
        }
        self.history: dict[str, list[Any]] = {}
        for row in kept["history"]:
            for item in row.item:
                key = item.key or ".".join(item.nested_key)
                self.history.setdefault(key, []).append(json.loads(item.value_json))

    def table(self, name: str, index: int = -1) -> dict[str, Any]:
        path = self.file.parent / "files" / self.history[f"{name}.path"][index]
        content: dict[str, Any] = json.loads(path.read_text())
        return content


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_three_loggers_carry_the_same_scalars_and_wandb_the_rest(
    tiny_davis: Path, tiny_model_config: dict[str, Any], tmp_path: Path
) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with finishing_wandb():
        loggers = [
            MetricsFile(str(tmp_path)),
            RunTensorBoard(str(tmp_path)),
            RunWandb(str(tmp_path), tags=["full", None], job_type="train", group="sweep", log_model=True),
        ]
        log_config(loggers, {"seed": 0, "model": {"variant": "full"}}, {"git_commit": "abc"})
        trainer, module, watch = train(tiny_davis, tiny_model_config, tmp_path, loggers)
        log_scores(loggers, SCORES, trainer.global_step)

    with (tmp_path / "metrics.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    table = {name: [float(row[name]) for row in rows if row[name]] for name in SCALARS}
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) >= SCALARS
    run = Offline(tmp_path)
    for name in SCALARS:
        assert run.history[name] == pytest.approx(table[name])
        assert [event.value for event in events.Scalars(name)] == pytest.approx(table[name])
        assert len(table[name]) == (4 if "train" in name else 2 if "val/" in name else 1)

    # The numbers are right.
    assert [norm for _, _, norm in watch.steps] == pytest.approx(table["train/gradient_norm"], rel=1e-4)
    assert table["train/lr"] == pytest.approx([0.01 * (1 - step / 8) ** 0.9 for step in range(4)])
    curves = write_embeddings(module.model, davis2016(tiny_davis), SIZE, 1, tmp_path / "embeddings")["sequences"]
    distances = [curve["distance"][t] for curve in curves.values() for t in (1, 2)]
    assert table["val/cosine_distance"][-1] == pytest.approx(np.mean(distances), abs=1e-4)

    # What the run is.
    assert (run.run.project, run.run.job_type, run.run.run_group) == ("lightning_logs", "train", "sweep")
    assert (list(run.run.tags), run.run.display_name) == (["full"], tmp_path.name)
    assert run.run.run_id == (tmp_path / "wandb" / "id").read_text()
    assert (run.config["seed"], run.config["git_commit"], run.config["model"]["variant"]) == (0, "abc", "full")
    assert run.exit.exit_code == 0
    assert {metric.name for metric in run.metrics if metric.summary.max} == {"val/J", "val/F"}

    # Pictures, curves, tables.
    shown = [tag for tag in events.Tags()["images"] if tag.startswith("val/overlays/")]
    assert shown == ["val/overlays/val-000-1", "val/overlays/val-001-2"]
    assert [(image.width, image.height) for image in events.Images(shown[0])] == [(56, 32)] * 2
    sequences = run.table("val/sequences")
    assert sequences["columns"] == ["sequence", "frames", "J", "F"]
    assert [row[:2] for row in sequences["data"]] == [["val-000", 2], ["val-001", 2]]
    assert np.mean([row[2:] for row in sequences["data"]], axis=0) == pytest.approx(
        [table["val/J"][-1], table["val/F"][-1]], abs=1e-6
    )
    curve = np.array(run.table("val/precision_recall_table")["data"])
    assert curve.shape == (256, 2)
    assert (np.diff(curve[:, 0]) >= 0).all()
    assert curve[-1, 0] == 1
    over_time = run.table("val/consistency_table")["data"]
    assert [when for when, _ in over_time] == pytest.approx([1 / 3, 2 / 3])
    assert np.mean([distance for _, distance in over_time]) == pytest.approx(table["val/cosine_distance"][-1])
    first, last = run.history["val/overlays.captions"]
    assert [caption.split(":")[0] for caption in first] == ["val-000 1", "val-001 2"]
    assert [caption.split(":")[0] for caption in first] == [caption.split(":")[0] for caption in last]
    for masks in run.history["val/overlays.all_masks"][-1]:
        assert set(masks) == {"prediction", "annotation"}
    for picture in run.history["val/overlays.filenames"][-1]:
        assert (run.file.parent / "files" / picture).is_file()
    final = run.table("evaluation/sequences")
    assert final["columns"][:3] == ["sequence", "J mean", "J recall"]
    assert [row[:2] for row in final["data"]] == [["val-000", 0.4], ["val-001", 0.6]]

    models = [artifact for artifact in run.artifacts if artifact.type == "model"]
    assert {alias for artifact in models for alias in artifact.aliases} == {"best", "latest"}


@pytest.mark.usefixtures("offline")
def test_runs_of_one_process_never_merge(tmp_path: Path) -> None:
    import wandb

    for name, failing in (("a", True), ("b", False)):
        try:
            with finishing_wandb():
                logger = RunWandb(str(tmp_path / name))
                logger.log_metrics({"name": ord(name)}, 0)
                if failing:
                    raise SystemExit(3)
        except SystemExit:
            pass
        assert wandb.run is None
    a, b = Offline(tmp_path / "a"), Offline(tmp_path / "b")
    assert a.run.run_id != b.run.run_id
    assert (a.history["name"], b.history["name"]) == ([ord("a")], [ord("b")])
    assert (a.exit.exit_code, b.exit.exit_code) == (1, 0)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("error", "exit_code"), [(Pruned("pruned at step 4"), 0), (SystemExit(128 + signal.SIGTERM), 0), (UserError(), 1)]
)
def test_what_was_meant_is_no_crash_in_wandb(tmp_path: Path, error: BaseException, exit_code: int) -> None:
    @finishing_wandb()
    def job() -> None:
        RunWandb(str(tmp_path)).log_metrics({"one": 1}, 0)
        raise error

    with pytest.raises(type(error)):
        job()
    assert Offline(tmp_path).exit.exit_code == exit_code


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("agent", [True, False])
def test_the_run_is_the_one_that_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, agent: bool) -> None:
    """Under `wandb agent`, which gives a run its id and project, and where the command gives an id."""
    import wandb

    wandb.teardown()  # a training is a process of its own
    folder, options = tmp_path / "run", {"project": "adnet"}
    write_text(folder / "config.yaml", "logger: {wandb: {project: adnet, entity: null}}")
    with monkeypatch.context() as patch:
        if agent:
            for name, value in {"SWEEP_ID": "swept", "RUN_ID": "agents01", "PROJECT": "theirs"}.items():
                patch.setenv(f"WANDB_{name}", value)
        else:
            options["id"] = "agents01"
        with finishing_wandb():
            logger = RunWandb(str(folder), **options)
            log_config([logger], {"seed": 0}, {})
            logger.log_metrics({"one": 1}, 0)
        wandb.teardown()
    assert (folder / "wandb" / "id").read_text() == "agents01"
    project = "theirs" if agent else "adnet"
    trained = Offline(folder)
    assert (trained.run.run_id, trained.run.project) == ("agents01", project)


@pytest.mark.usefixtures("offline")
def test_jobs_of_a_sweep_are_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import wandb

    wandb.teardown()  # a job is a process of its own: wandb reads the environment once a process
    monkeypatch.setenv("WANDB_RUN_GROUP", "first")  # as the sweep gives it to its jobs
    with finishing_wandb():
        RunWandb(str(tmp_path / "job"), group=None).log_metrics({"one": 1}, 0)
    with finishing_wandb():
        RunWandb(str(tmp_path / "own"), group="mine").log_metrics({"one": 1}, 0)
    assert [Offline(tmp_path / name).run.run_group for name in ("job", "own")] == ["first", "mine"]


@pytest.mark.usefixtures("offline")
def test_resumed_run_keeps_its_id(tmp_path: Path) -> None:
    first, again = (RunWandb(str(tmp_path)).version for _ in range(2))
    assert first == again
    assert RunWandb(str(tmp_path / "other")).version != first


def test_a_frame_is_scored_once_and_has_no_histogram_that_nobody_sees(
    tiny_davis: Path, tiny_model_config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: dict[str, int] = {"contour_accuracy": 0, "histogram": 0}
    for module, name in ((training_module, "contour_accuracy"), (monitor, "histogram")):

        def counting(*given: Any, name: str = name, original: Any = getattr(module, name)) -> Any:  # noqa: B008
            calls[name] += 1
            return original(*given)

        monkeypatch.setattr(module, name, counting)
    train(tiny_davis, tiny_model_config, tmp_path, [MetricsFile(str(tmp_path))], steps=2)
    assert calls == {"contour_accuracy": 4, "histogram": 0}
    assert "val/cosine_distance" in (tmp_path / "metrics.csv").read_text()


@pytest.mark.usefixtures("offline")
def test_a_validation_without_a_number_spoils_no_best(tmp_path: Path) -> None:
    with finishing_wandb():
        logger = RunWandb(str(tmp_path))
        log_config([logger], {}, {})
        for step, J in enumerate([0.3, math.nan, 0.6, 0.5]):
            logger.log_metrics({"val/J": J, "train/loss": math.nan}, step)
    run = Offline(tmp_path)
    assert run.summary["val/J"] == {"max": 0.6, "last": 0.5}
    assert run.history["val/J"] == [0.3, 0.6, 0.5]
    assert len(run.history["train/loss"]) == 4


@pytest.mark.usefixtures("offline")
def test_a_resumed_run_is_sent_as_one_in_order(tmp_path: Path) -> None:
    """That `wandb sync` sends folders of one run by their start is its own promise; without a server, it only lists them."""
    from click.testing import CliRunner
    from wandb.cli.cli import sync

    for step in (0, 1):
        with finishing_wandb():
            RunWandb(str(tmp_path)).log_metrics({"val/J": 0.5}, step)
        time.sleep(1)  # a folder's name has its second
    folders = sorted((tmp_path / "wandb").glob("offline-run-*"))
    first, second = (Offline(tmp_path, folder.name) for folder in folders)
    assert first.run.run_id == second.run.run_id == (tmp_path / "wandb" / "id").read_text()
    assert first.run.start_time.ToDatetime() < second.run.start_time.ToDatetime()
    assert [run.history["trainer/global_step"] for run in (first, second)] == [[0], [1]]
    listed = CliRunner().invoke(sync, ["--dry-run", *map(str, folders)], catch_exceptions=False).output
    assert all(folder.name in listed for folder in folders)


@pytest.mark.slow
def test_accumulated_batches_are_the_pairs_of_one_step(
    tiny_davis: Path, tiny_model_config: dict[str, Any], tmp_path: Path
) -> None:
    seen = []
    for accumulated in (1, 2):
        trainer, _, watch = train(
            tiny_davis, tiny_model_config, tmp_path / str(accumulated), [], accumulated, steps=2, limit_val_batches=0
        )
        assert trainer.global_step == 2
        seen.append((watch.keys, [step[:2] for step in watch.steps]))
    assert len(seen[0][0]) == 8
    assert seen[0] == seen[1]  # the same pairs in the same order, and the schedule goes by optimiser steps
    line = effective_batch(trainer.datamodule, trainer)  # type: ignore[attr-defined]
    assert line == "effective batch: 4 pairs = 1 device x 2 x 2 accumulated (the paper's is 8)"
