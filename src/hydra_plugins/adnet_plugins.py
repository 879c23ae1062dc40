"""What adnet adds to Hydra: `hydra/sweeper=adnet` and `adnet_optuna`, `hydra/launcher=adnet_ray`, the resolver `adnet_sweep_name`.

Hydra takes plugins from this namespace only, and imports this file in every application of the environment: so it is short,
imports the rest when it is used, and adds no name that could be another application's. (Without `annotations` of the future:
dataclasses look those up in `sys.modules`, where Hydra puts a plugin only after it has run it.)
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf, __version__


@dataclass
class GridConf:
    """Options of the sweeper of every command."""

    _target_: str = "hydra_plugins.adnet_plugins.GridSweeper"
    max_batch_size: int | None = None  # jobs handed to the launcher at once; default: all
    gpus_per_job: int | None = None  # that no other job on the machine gets; default: each sees all


@dataclass
class SearchConf(GridConf):
    """Options of `hparams=optuna`."""

    _target_: str = "hydra_plugins.adnet_plugins.SearchSweeper"
    n_trials: int = 20  # finished or pruned ones
    n_jobs: int = 1  # at the same time
    startup_trials: int = 5  # that finish before any is pruned
    warmup_steps: int = 0  # before which none is pruned
    params: dict[str, str] = field(default_factory=dict)


@dataclass
class RayConf:
    """Options of `launcher=ray`."""

    _target_: str = "hydra_plugins.adnet_plugins.RayLauncher"
    init: dict[str, Any] = field(default_factory=dict)  # arguments of ray.init
    remote: dict[str, Any] = field(default_factory=dict)  # of ray.remote: what each job takes


class _Plugin:
    """Keeps what Hydra sets it up with."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config


class GridSweeper(_Plugin, Sweeper):
    """Every combination of values, each job in a process of its own."""

    def __init__(self, **_: Any) -> None:
        self.launcher = None

    def sweep(self, arguments: list[str]) -> None:
        from adnet.sweep.runner import run_grid

        run_grid(self.config, self.hydra_context, arguments)


class SearchSweeper(GridSweeper):
    """Values chosen by Optuna."""

    def sweep(self, arguments: list[str]) -> None:
        from adnet.shared.machine import need_extra

        need_extra("optuna", "optuna", "hparams=optuna")
        from adnet.sweep.search import run_search

        run_search(self.config, self.hydra_context, arguments)


class RayLauncher(_Plugin, Launcher):
    """Each job is a task of a Ray cluster."""

    def __init__(self, init: DictConfig, remote: DictConfig) -> None:
        self._init, self._remote = (OmegaConf.to_container(options) for options in (init, remote))

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from adnet.sweep.ray_launcher import launch_on_ray

        return launch_on_ray(
            self.hydra_context,
            self.task_function,
            self.config,
            job_overrides,
            initial_job_idx,
            self._init,
            self._remote,
        )


def _sweep_name(overrides: Any, _root_: DictConfig) -> str:
    from adnet.sweep.folder_names import sweep_name

    config: Any = OmegaConf.to_container(_root_)
    return sweep_name(list(overrides), {key: value for key, value in config.items() if key != "hydra"})


# 2.4 calls it by a name that another function of 2.3 has.
_register = OmegaConf.register_new_resolver if __version__.startswith("2.3.") else OmegaConf.register_resolver
_register("adnet_sweep_name", _sweep_name, replace=True)
for group, name, conf in (
    ("hydra/sweeper", "adnet", GridConf),
    ("hydra/sweeper", "adnet_optuna", SearchConf),
    ("hydra/launcher", "adnet_ray", RayConf),
):
    ConfigStore.instance().store(group=group, name=name, node=conf, provider="adnet")
