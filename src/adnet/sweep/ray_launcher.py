"""Launch jobs on a Ray cluster."""

import os
import signal
from collections.abc import Sequence
from typing import Any

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from adnet.shared.machine import need_extra

_OF_THE_SHELL = ("ADNET_", "HF_", "NO_ALBUMENTATIONS_", "OMP_", "WANDB_")
"""Beginnings of the variables that tasks get from the shell of the sweep; a cluster's workers have its own environment."""


def launch_on_ray(
    context: HydraContext,
    task_function: TaskFunction,
    config: DictConfig,
    jobs: Sequence[Sequence[str]],
    first: int,
    init: dict[str, Any],
    remote: dict[str, Any],
) -> list[JobReturn]:
    """Run each job as a Ray task, as many at once as the cluster has room for; return when all have ended.

    Args:
        init: arguments of `ray.init`; without an `address`, Ray starts a cluster on this machine. Jobs get this shell's
            variables of adnet, W&B and the hub, and those of `runtime_env`, which take precedence.
        remote: arguments of `ray.remote`: the resources of each task (`num_cpus`, `num_gpus`, `resources`, ...). If `num_gpus`
            is None, each task gets one GPU if the cluster has any.
    """
    need_extra("ray", "ray", "launcher=ray")
    import ray

    state, here = Singleton.get_state(), os.getcwd()  # noqa: PTH109

    def run(job: list[str], number: int) -> JobReturn:
        os.chdir(here)  # so that relative paths mean the same
        setup_globals()
        Singleton.set_state(state)
        cfg = context.config_loader.load_sweep_config(config, job)
        with open_dict(cfg):
            cfg.hydra.job.id = cfg.hydra.job.num = number
        return run_job(task_function, cfg, "hydra.sweep.dir", "hydra.sweep.subdir", hydra_context=context)

    starts_ray = not ray.is_initialized()
    if starts_ray:
        handler = signal.getsignal(signal.SIGTERM)
        variables = {name: value for name, value in os.environ.items() if name.startswith(_OF_THE_SHELL)}
        environment = init.get("runtime_env") or {}
        variables |= environment.get("env_vars") or {}
        ray.init(**init | {"runtime_env": environment | {"env_vars": variables}})
        signal.signal(signal.SIGTERM, handler)  # Ray's own would end the sweep without its jobs
    try:
        if remote.get("num_gpus") is None:
            remote = remote | {"num_gpus": int(ray.cluster_resources().get("GPU", 0) >= 1)}
        task = ray.remote(**remote)(run)
        return ray.get([task.remote(list(job), first + n) for n, job in enumerate(jobs)])
    finally:
        if starts_ray:
            ray.shutdown()
