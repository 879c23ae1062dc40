from __future__ import annotations

import hydra
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from adnet.shared.command import conf_dir
from adnet.sweep.folder_names import changes_results, job_names, sweep_name


def test_a_job_is_named_by_what_differs() -> None:
    jobs = [
        [f"+experiment=ablation_{variant}", f"seed={seed}", "scale=smoke"]
        for variant in ("full", "intra")
        for seed in (0, 1)
    ]
    assert job_names(jobs) == [
        "experiment-ablation_full+seed-0",
        "experiment-ablation_full+seed-1",
        "experiment-ablation_intra+seed-0",
        "experiment-ablation_intra+seed-1",
    ]
    assert job_names([["optim.optimizer.lr=0.1"], ["optim.optimizer.lr=1e-4"]]) == ["lr-0.1", "lr-1e-4"]
    assert job_names([["seed=0"]]) == ["one"]


def test_values_that_a_folder_can_t_show_are_told_apart() -> None:
    names = job_names([["data.root=a/b"], ["data.root=a b"]])
    assert len(set(names)) == 2
    assert names == job_names([["data.root=a/b"], ["data.root=a b"]])


def test_a_sweep_is_named_by_its_command_line() -> None:
    arguments = ["+experiment=glob(ablation_*)", "seed=0,1,2"]
    assert sweep_name(arguments, {}) == "experiment-glob-ablation_*+seed-0-1-2"
    assert sweep_name([*arguments, "launcher=joblib", "trainer=ddp", "logger=wandb"], {}) == sweep_name(arguments, {})
    assert sweep_name([*arguments, "scale=lite"], {}) != sweep_name(arguments, {})
    assert sweep_name(["trainer.devices=1,2"], {}) == "devices-1-2"
    assert sweep_name([], {}) == "one"
    long = [f"data.sequences=[{'bear,' * 30}{n}]" for n in range(2)]
    assert len({sweep_name([name], {}) for name in long}) == 2
    assert max(len(sweep_name([name], {})) for name in long) <= 80


def test_keys_that_end_in_the_same_are_told_apart() -> None:
    def folder(*arguments: str) -> str:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            return hydra.compose("train", [*arguments], return_hydra_config=True).hydra.run.dir  # type: ignore[no-any-return]

    assert folder("model.dropout=0") == "runs/model.dropout-0"
    assert folder("model.encoder.dropout=0") == "runs/model.encoder.dropout-0"
    # As they were named before.
    assert folder("optim.optimizer.lr=0.1", "seed=3") == "runs/lr-0.1+seed-3"
    assert (
        folder("+experiment=ablation_full", "scale=lite", "data.root=x")
        == "runs/experiment-ablation_full+scale-lite+root-x"
    )
    assert folder("model.encoder.output_stride=16") == "runs/output_stride-16"
    # The motion branch has an encoder of its own.
    motion = [folder("model=full_motion", f"model.{name}.output_stride=16") for name in ("encoder", "motion")]
    assert motion == [f"runs/model-full_motion+model.{name}.output_stride-16" for name in ("encoder", "motion")]
    added = {folder("model=full_motion", f"+model.{name}.drop=1") for name in ("encoder", "motion")}
    assert len(added) == 2


@given(st.lists(st.tuples(st.sampled_from(["a", "b.c", "+d"]), st.text(max_size=30)), min_size=1, max_size=4))
def test_names_need_no_quotes(overrides: list[tuple[str, str]]) -> None:
    """A path of them can be pasted into another command."""
    for name in (
        sweep_name([f"{key}={value}" for key, value in overrides], {}),
        *job_names([[f"a={v}"] for _, v in overrides]),
    ):
        assert "/" not in name
        assert (
            OverridesParser.create().parse_override(f"checkpoint=runs/{name}/last.ckpt").value()
            == f"runs/{name}/last.ckpt"
        )


@pytest.mark.parametrize(
    "where", ["trainer=ddp", "trainer.devices=2", "+callbacks.x=1", "pairs.workers=0", "hydra.verbose=true"]
)
def test_where_a_job_runs_is_not_what_it_finds(where: str) -> None:
    assert not changes_results(where)
    assert changes_results("seed=1")
    assert changes_results("pairs.batch_size=4")
