"""Two trials of a tiny network, at the same time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from adnet.training.callbacks import open_study

pytest.importorskip("optuna")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_search(tiny_davis: Path, tmp_path: Path, run: Callable[..., Any]) -> None:
    from adnet import train

    arguments = (
        *("-m", "hparams=optuna_lite", "scale=smoke", "steps=2", "epoch_steps=1", "pairs.workers=0"),
        *("model.encoder.backbone=test_efficientnet", "model.encoder.pretrained=false"),
        *(
            "trainer.accelerator=cpu",
            f"data.root={tiny_davis}",
            "pairs.holdout=[train-001]",
            f"hydra.sweep.dir={tmp_path}/sweep",
        ),
        *("pairs.augmentation.crop_size=choice([33,57],[65,113])", "model.encoder.embedding_channels=8,16"),
    )
    arguments += ("hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=2", "launcher=joblib")
    ended = run(train.main, *arguments)
    assert ended.code == 0, ended.out + ended.err
    assert "2 finished\n" in ended.out
    ended = run(train.main, *arguments)
    assert (ended.code, "2 skipped (finished before)\n" in ended.out) == (0, True), ended.out + ended.err
    study = open_study(tmp_path / "sweep" / "optuna.journal")
    for trial in study.trials:
        folder = tmp_path / "sweep" / f"trial-{trial.number:03}"
        assert trial.state.name == "COMPLETE"
        assert set(trial.intermediate_values) == {1, 2}
        assert trial.value == max(trial.intermediate_values.values())
        assert json.loads((folder / "summary.json").read_text())["data"]["val"]["sequences"] == ["train-001"]
        config = (folder / "config.yaml").read_text()
        assert f"embedding_channels: {trial.params['model.encoder.embedding_channels']}" in config
        assert f"lr: {trial.params['optim.optimizer.lr']}" in config
