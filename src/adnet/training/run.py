"""Run a whole training: from its config to the run folder and its summary."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import lightning as L
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_only
from omegaconf import DictConfig, OmegaConf, open_dict

from adnet.data.datamodule import PairDataModule
from adnet.data.flow import SequenceFlow
from adnet.data.videos import VideoDataset, known_fingerprint
from adnet.errors import UserError
from adnet.inference import Protocol, VideoSegmenter, evaluate
from adnet.inference.embeddings import write_embeddings
from adnet.inference.output_folder import Shard, describe_flow
from adnet.models.cost import model_cost
from adnet.shared.command import resolved
from adnet.shared.files import read_json, remove, write_json, write_text
from adnet.shared.locks import lock_run_folder
from adnet.shared.machine import git_commit, versions
from adnet.training import SegmentationModule
from adnet.training.checkpoints import LAST, requeued
from adnet.training.ddp import check_processes, effective_batch
from adnet.training.loggers import finishing_wandb, log_config, log_scores
from adnet.training.memory import StepSettings, TrainingMemory
from adnet.training.resume import check_provenance, checkpoint_to_resume, finished_run
from adnet.training.weight_averaging import WeightAveraging

SHORT = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
"""Short names of values of `trainer.precision`."""


@dataclass(frozen=True)
class Trained:
    """What a training left: its last checkpoint, and the content of `summary.json`; None on ranks above 0, and if it isn't finished."""

    folder: Path
    checkpoint: Path | None
    summary: dict[str, Any] | None


@finishing_wandb()
def train(cfg: DictConfig, folder: Path) -> Trained:
    """Train and evaluate in `folder`, by the resolved config of `adnet.train`. If the run is finished, only say so."""
    horizon = cfg.optim.schedule.get("horizon")
    if horizon is not None and cfg.steps > horizon:
        raise UserError(
            f"steps={cfg.steps}: the learning rate is 0 from step optim.schedule.horizon={horizon} on; raise the horizon, too "
            "(optim.schedule.horizon='${steps}' ends at 0, 4/3 of the steps is the paper's)"
        )
    check_processes(cfg.trainer.get("devices", "auto"), cfg.trainer.get("num_nodes", 1))
    # Under a short name, a resumed run would seem to have another config.
    cfg.trainer.precision = SHORT.get(str(cfg.trainer.precision), cfg.trainer.precision)
    if cfg.model.weights:
        cfg.model.encoder.pretrained = False  # the given weights include the backbone
    # Rank 0 holds the lock for all ranks; Lightning has set the rank.
    with requeued(), nullcontext() if getattr(rank_zero_only, "rank", 0) else lock_run_folder(folder):
        if summary := finished_run(folder, cfg):
            _print_scores(f"{summary['variant']}: finished before, {summary['steps']} steps", summary)
            print(f"run folder: {folder} (to train again, remove it or give another hydra.run.dir)")
        else:
            summary = _train(cfg, folder)
    last = folder / "checkpoints" / LAST
    return Trained(folder, last if last.is_file() else None, summary)


def try_out(cfg: DictConfig) -> None:
    """Take the few steps of `trainer.fast_dev_run`, by the config of `adnet.train`, in a temporary folder and without loggers."""
    with TemporaryDirectory(prefix="adnet-") as folder:
        with open_dict(cfg):
            cfg.run_dir, cfg.logger = folder, {}
        train(resolved(cfg), Path(folder))


def _train(cfg: DictConfig, folder: Path) -> dict[str, Any] | None:
    checkpoint = checkpoint_to_resume(folder, cfg)
    L.seed_everything(cfg.seed, workers=True, verbose=False)
    train, val = (instantiate(cfg.data, split=split) for split in ("train", "val"))
    model = instantiate(cfg.model, **({"weights": None} if checkpoint else {}))
    flow: SequenceFlow | None = instantiate(cfg.flow) if model.needs_flow else None
    mix = {name: instantiate(source) for name, source in cfg.mix.items()}
    # A partial, because Hydra would convert the datasets if they were its arguments.
    data: PairDataModule = instantiate(cfg.pairs, _partial_=True)(train=train, val=val, flow=flow, mix=mix)
    if flow:
        flow.check([*data.train.sequences, *data.val.sequences])  # before anything is written
    provenance = _provenance(data, flow) or {}
    if checkpoint and provenance:
        check_provenance(folder, provenance, cfg.allow_changed_data)
    module = SegmentationModule(
        model,
        instantiate(cfg.optim.optimizer),
        instantiate(cfg.optim.schedule),
        cfg.optim.new_layers_lr,
        tuple(cfg.test_size),
        cfg.seed,
        instantiate(cfg.loss),
    )
    groups = [(cfg.get(group) or {}).values() for group in ("callbacks", "logger")]
    callbacks, loggers = ([instantiate(member) for member in group if member is not None] for group in groups)
    # Without the callback, Lightning would save checkpoints of its own in the working directory.
    saves = any(isinstance(callback, Checkpoint) for callback in callbacks)
    trainer: L.Trainer = instantiate(
        cfg.trainer, callbacks=callbacks, logger=loggers, **({} if saves else {"enable_checkpointing": False})
    )
    if (trainer.val_check_interval, trainer.check_val_every_n_epoch) != (1.0, 1):
        raise UserError("epoch_steps says when to validate: leave val_check_interval and check_val_every_n_epoch out")
    batch = effective_batch(data, trainer)  # on each rank: if one failed alone, the others would wait for it
    memory, setting = _memory(cfg, module, trainer, data)
    devices = trainer.accumulate_grad_batches, trainer.strategy.root_device
    if trainer.is_global_zero:
        write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg))
        write_json(folder / "provenance.json", provenance)
        print(f"{model.variant}: {model_cost(model, module.test_size)}")
        if model.warm_start_report:
            print(model.warm_start_report)
        print(batch)
        print(memory.line(setting, *devices))
        log_config(loggers, OmegaConf.to_container(cfg), provenance)  # type: ignore[arg-type]

    score = partial(_score, cfg, instantiate(cfg.protocol), module, trainer, val, flow, folder)
    initial = score("initial") if cfg.test_at_start and trainer.is_global_zero else None
    started = time.perf_counter()
    with explain_out_of_memory(partial(memory.out_of_memory, setting, *devices)):
        trainer.fit(module, data, ckpt_path=str(checkpoint) if checkpoint else None, weights_only=True)
    seconds = time.perf_counter() - started + getattr(trainer.checkpoint_callback, "seconds_before", 0)
    if (tried := cfg.trainer.get("fast_dev_run")) or trainer.global_step < cfg.steps:
        done = f"stopped after {trainer.global_step} of {cfg.steps} steps, by a limit of the trainer or by a callback"
        said = f"{done}; the same command without it goes on in {folder}"
        if tried:
            said = f"trainer.fast_dev_run took {trainer.global_step} steps, of which nothing is kept"
        if trainer.is_global_zero:
            print(f"{model.variant}: {said}")
        return None
    final = score("evaluation")
    if not trainer.is_global_zero:
        return None
    summary: dict[str, Any] = {
        "variant": model.variant,
        "seed": cfg.seed,
        **(final or {"J": None, "F": None}),
        "initial": initial,
        "dataset": train.name,
        "steps": trainer.global_step,
        "seconds": round(seconds, 1),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        **provenance,
    }
    write_json(folder / "summary.json", summary)
    _print_scores(f"{model.variant}: {trainer.global_step} steps in {seconds:.0f} s", summary)
    print(f"run folder: {folder}")
    return summary


@rank_zero_only
def _provenance(data: PairDataModule, flow: SequenceFlow | None) -> dict[str, Any]:
    """Identify code, libraries and data. Only rank 0 needs it, and so reads the data."""
    fingerprints = {"train": _fingerprint(data.train, flow), "val": _fingerprint(data.val, flow)}
    made_by = {"git_commit": git_commit(), "versions": versions(), "threads": torch.get_num_threads()}
    return {**made_by, "data": fingerprints}


def _fingerprint(dataset: VideoDataset, flow: SequenceFlow | None) -> dict[str, Any]:
    """Identify the dataset, and the files of its optical flow if others computed it."""
    videos = (sequence.name for sequence in dataset.sequences if len(sequence.frames) > 1)
    read = describe_flow(flow and flow.method, videos)
    return known_fingerprint(dataset) | ({"flow_sha256": read["files_sha256"]} if read and read["files_sha256"] else {})


@rank_zero_only
def _print_scores(head: str, summary: dict[str, Any]) -> None:
    print(head)
    for when, scores in (("before training ", summary["initial"]), ("after training  ", summary)):
        if scores and scores["J"] is not None:
            J, F = 100 * scores["J"], 100 * scores["F"]
            print(f"  {when} J {J:5.1f}   F {F:5.1f}   ({summary['dataset']} val)")


def _memory(
    cfg: DictConfig, module: SegmentationModule, trainer: L.Trainer, data: PairDataModule
) -> tuple[TrainingMemory, StepSettings]:
    averaged = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)  # type: ignore[attr-defined]
    memory = TrainingMemory(
        module.model,
        instantiate(cfg.loss),
        instantiate(cfg.optim.optimizer),
        tuple(cfg.pairs.augmentation.crop_size),
        copies=(1 + averaged, 1 + (trainer.world_size > 1)),
    )
    pairs = data.device_batch_size(trainer.world_size, trainer.accumulate_grad_batches)
    return memory, StepSettings(cfg.trainer.precision, memory.recomputed, pairs)


def _score(
    cfg: DictConfig,
    protocol: Protocol,
    module: SegmentationModule,
    trainer: L.Trainer,
    dataset: VideoDataset,
    flow: SequenceFlow | None,
    folder: Path,
    name: str,
) -> dict[str, float] | None:
    """Evaluate the network into `folder/name`, `initial` or `evaluation`. Returns J and F, or None without `test_at_end`.

    All processes must call this for `evaluation`, each for its share of the sequences; only rank 0 gets the scores, and
    logs them.
    """
    if not cfg.test_at_end:
        return None
    final = name == "evaluation"
    # Lightning moves the module back to the CPU after training, but does not undo half precision.
    model = module.model.to(trainer.strategy.root_device, torch.float32)
    precision = {"bf16": "bf16", "16": "fp16"}.get(trainer.precision.split("-")[0], "fp32")
    segmenter = VideoSegmenter(model, protocol, module.test_size, precision=precision)
    output = folder / name / f"{dataset.name}-{dataset.split}-{protocol.name}"
    if trainer.is_global_zero:
        remove([output])
    shard = Shard(trainer.global_rank, trainer.world_size) if final else Shard()
    if shard.count > 1:
        for buffer in module.model.buffers():  # each process has its own running statistics of batch norm
            torch.distributed.broadcast(buffer, 0)
        trainer.strategy.barrier()  # until rank 0 has emptied the folder
    evaluate(segmenter, dataset, output, shard=shard, flow=flow)
    if shard.count > 1:
        trainer.strategy.barrier()
    if not trainer.is_global_zero:
        return None
    scores = read_json(output / "scores.json")
    if final and cfg.embeddings:
        write_embeddings(module.model, dataset, module.test_size, cfg.embeddings, output)
    module.train()
    log_scores(trainer.loggers if final else (), scores, trainer.global_step)
    return {measure: scores["mean"][measure]["mean"] for measure in ("J", "F")}


@contextmanager
def explain_out_of_memory(message: Callable[[], str]) -> Iterator[None]:
    """Raise UserError if the device runs out of memory, with `message()`, or if a loader worker dies.

    PyTorch reports a dead worker by a RuntimeError, or only by a broken connection. Usually memory ran out.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise UserError(message()) from error
    except (RuntimeError, ConnectionError, EOFError) as error:
        died = re.search(r"DataLoader worker \(pid[^:]*", str(error))
        if isinstance(error, RuntimeError) and not died:
            raise
        raise UserError(
            f"{died[0].rstrip(' .') if died else 'a DataLoader worker died'}: if memory ran out, use fewer pairs.workers; the "
            "same command continues from the last checkpoint"
        ) from error
