from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import hydra
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from adnet.errors import UserError
from adnet.shared.command import conf_dir
from adnet.training.resume import check_provenance, checkpoint_to_resume, finished_run

CONFIG: dict[str, Any] = {
    "seed": 0,
    "resume": True,
    "steps": 4,
    "data": {"root": "here", "split": "val"},
    "pairs": {"batch_size": 8, "workers": 2, "holdout": []},
    "trainer": {"devices": 1, "precision": "32-true"},
}


def config(*overrides: str) -> DictConfig:
    return OmegaConf.merge(CONFIG, OmegaConf.from_dotlist([*overrides]))  # type: ignore[return-value]


@pytest.fixture
def cut_off(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    OmegaConf.save(config(), tmp_path / "config.yaml")
    for name in ("previous.ckpt", "last.ckpt"):
        torch.save({"name": name}, tmp_path / "checkpoints" / name)
    return tmp_path


def test_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert checkpoint_to_resume(tmp_path, config()) is None
    assert checkpoint_to_resume(tmp_path / "not there", config("resume=false")) is None
    (tmp_path / "config.yaml").write_text("seed: 1\n")  # of a run that was cut off before its first checkpoint
    assert checkpoint_to_resume(tmp_path, config()) is None


def test_a_finished_run_is_that_of_its_own_command(cut_off: Path) -> None:
    assert finished_run(cut_off, config()) is None
    (cut_off / "summary.json").write_text('{"J": 0.5}')
    assert finished_run(cut_off, config("pairs.workers=0", "resume=false")) == {"J": 0.5}
    with pytest.raises(UserError, match=r"holds a finished run of another config: steps was 4 and is 8; give another"):
        finished_run(cut_off, config("steps=8"))


def test_a_summary_of_fewer_steps_is_that_of_an_unfinished_run(cut_off: Path) -> None:
    (cut_off / "summary.json").write_text('{"steps": 3}')
    assert finished_run(cut_off, config()) is None
    (cut_off / "summary.json").write_text('{"steps": 4}')
    assert finished_run(cut_off, config()) == {"steps": 4}


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["steps=9", "trainer.log_every_n_steps=1"],
        ["data.root=there", "mix.duts.dataset.root=there", "pairs.workers=0"],
        ["trainer.num_nodes=1", "trainer.sync_batchnorm=false"],  # as where they are not set
    ],
)
def test_a_run_of_the_same_config_is_gone_on_with(cut_off: Path, overrides: list[str]) -> None:
    assert checkpoint_to_resume(cut_off, config(*overrides)) == cut_off / "checkpoints" / "last.ckpt"


def test_the_keys_that_differ_are_named(cut_off: Path) -> None:
    with pytest.raises(UserError) as error:
        checkpoint_to_resume(cut_off, config("seed=1", "trainer.precision=16-mixed", "pairs.anchor=random", "steps=8"))
    assert str(error.value) == (
        f"{cut_off} holds a run of another config: seed was 0 and is 1, pairs.anchor was not set and is random, trainer.precision "
        "was 32-true and is 16-mixed; give another hydra.run.dir, or these values"
    )
    with pytest.raises(UserError, match=r"pairs\.holdout was \[\] and is \['bear'\]"):
        checkpoint_to_resume(cut_off, OmegaConf.merge(config(), {"pairs": {"holdout": ["bear"]}}))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "before", "now"),
    [
        ("sync_batchnorm", False, True),
        ("devices", 1, 2),
        ("num_nodes", 1, 2),
        ("accumulate_grad_batches", 1, 4),
    ],
)
def test_how_a_batch_is_shared_stays(cut_off: Path, key: str, before: Any, now: Any) -> None:
    with pytest.raises(UserError) as error:
        checkpoint_to_resume(cut_off, config(f"trainer.{key}={now}"))
    assert str(error.value) == (
        f"{cut_off} holds a run of another config: trainer.{key} was {before} and is {now}; give another hydra.run.dir, or "
        "these values"
    )


def test_a_run_from_before_there_was_a_loss_or_a_mixture_to_choose(cut_off: Path) -> None:
    loss = {"_target_": "adnet.training.loss.Loss", "soft_iou": 0.0, "boundary": 0.0, "boundary_width": 5}
    now: Any = OmegaConf.merge(config(), {"loss": loss, "mix": {}})
    assert checkpoint_to_resume(cut_off, now) == cut_off / "checkpoints" / "last.ckpt"
    with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):  # 0.2.0 had no weight of the cross-entropy
        now.loss = hydra.compose("train").loss
    assert checkpoint_to_resume(cut_off, now) == cut_off / "checkpoints" / "last.ckpt"
    with pytest.raises(UserError, match=r"another config: loss\.soft_iou was 0\.0 and is 1\.0;"):
        checkpoint_to_resume(cut_off, OmegaConf.merge(now, {"loss": {"soft_iou": 1.0}}))  # type: ignore[arg-type]
    OmegaConf.save(OmegaConf.merge(now, {"loss": {"boundary": 2.0}}), cut_off / "config.yaml")
    with pytest.raises(UserError, match=r"another config: loss\.boundary was 2\.0 and is 0\.0;"):
        checkpoint_to_resume(cut_off, now)


def test_a_setting_of_one_version_alone_may_be_off(cut_off: Path) -> None:
    now: Any = OmegaConf.merge(config(), {"model": {"refine": False, "width": 0, "weights": None}})
    assert checkpoint_to_resume(cut_off, now)
    OmegaConf.save(now, cut_off / "config.yaml")
    assert checkpoint_to_resume(cut_off, config())
    with pytest.raises(UserError, match=r"another config: model\.width was 0 and is 3;"):
        checkpoint_to_resume(cut_off, OmegaConf.merge(now, {"model": {"width": 3}}))  # type: ignore[arg-type]


def test_another_mixture_is_another_run(cut_off: Path) -> None:
    mixture: Any = OmegaConf.merge(config(), {"mix": {"duts": {"weight": 2.0}}})
    with pytest.raises(UserError, match=r"another config: mix\.duts\.weight was not set and is 2\.0;"):
        checkpoint_to_resume(cut_off, mixture)
    OmegaConf.save(mixture, cut_off / "config.yaml")
    with pytest.raises(UserError, match=r"another config: mix\.duts\.weight was 2\.0 and is not set;"):
        checkpoint_to_resume(cut_off, OmegaConf.merge(config(), {"mix": {}}))  # type: ignore[arg-type]


def test_resume_false_refuses(cut_off: Path) -> None:
    with pytest.raises(UserError, match="holds an interrupted run; resume=true continues it"):
        checkpoint_to_resume(cut_off, config("resume=false"))


def test_a_checkpoint_that_is_cut_off_gives_way_to_the_one_before(
    cut_off: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = cut_off / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:100])
    assert checkpoint_to_resume(cut_off, config()) == last.with_name("previous.ckpt")
    assert capsys.readouterr().err == f"{last} is damaged or missing: resuming from previous.ckpt, the one before\n"
    assert not last.exists()  # it would take the other's place


def data(**changes: Any) -> dict[str, Any]:
    return {
        "train": {"sequences": ["a", "b"], "frames": 8, "sha256": "1" * 64} | changes,
        "val": {"sequences": ["c"], "frames": 4, "sha256": "2" * 64},
    }


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"sequences": ["a", "d"]}, "sequences b, d"),
        ({"sequences": ["a", "d"], "frames": 2}, "images b, d"),
        ({"sequences": [*"abcdefgh"], "frames": 9}, "sequences c, d, e, f, g and 1 more"),
        ({"frames": 7}, "8 frames then, 7 now"),
        ({"sha256": "3" * 64}, "the content of a file"),
    ],
)
def test_changed_data_is_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    (tmp_path / "provenance.json").write_text(json.dumps({"data": data()}))
    check_provenance(tmp_path, {"data": data(), "threads": 2}, allow_changed_data=False)
    changed = {"data": data(**changes), "threads": 2}
    check_provenance(tmp_path, changed, allow_changed_data=True)
    with pytest.raises(UserError) as error:
        check_provenance(tmp_path, changed, allow_changed_data=False)
    assert str(error.value).startswith(
        f"the train data is not what the run in {tmp_path} began with ({what}): restore it"
    )


def test_another_number_of_threads_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    split = {"sequences": ["bear"], "frames": 2, "sha256": "0" * 64, "frames_sha256": "0" * 64}
    provenance = {"git_commit": None, "versions": {}, "data": {"train": split, "val": split}}
    check_provenance(tmp_path, provenance | {"threads": 2}, allow_changed_data=False)  # no provenance
    (tmp_path / "provenance.json").write_text(json.dumps(provenance))
    check_provenance(tmp_path, provenance | {"threads": 2}, allow_changed_data=False)  # an older version's
    (tmp_path / "provenance.json").write_text(json.dumps(provenance | {"threads": 2}))
    check_provenance(tmp_path, provenance | {"threads": 2}, allow_changed_data=False)
    assert capsys.readouterr().err == ""
    check_provenance(tmp_path, provenance | {"threads": 1}, allow_changed_data=False)
    assert capsys.readouterr().err.startswith("the run had 2 threads before and has 1 now")
