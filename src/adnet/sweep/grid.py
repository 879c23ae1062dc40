"""Every combination of the values on the command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import HydraContext
from omegaconf import DictConfig

from adnet.sweep.names import job_names
from adnet.sweep.sweep import Sweep


def run_grid(config: DictConfig, context: HydraContext, arguments: Sequence[str]) -> None:
    """Run the jobs of `a=1,2 b=glob(c*)`; exits with code 1 if one of them did not end well.

    Raises what composing a job raises, and UserError as `Sweep.run` does, before anything runs.
    """
    overrides = OverridesParser.create(config_loader=context.config_loader).parse_overrides(list(arguments))
    every = BasicSweeper.split_arguments(overrides, None)[0]
    jobs = dict(zip(job_names(every), every, strict=True))
    sweep = Sweep(config, context)
    for name, job in jobs.items():
        sweep.check(name, job)
    sweep.begin()
    rows = sweep.run(jobs, batch=config.hydra.sweeper.max_batch_size)
    if not sweep.finish(rows):
        sys.exit(1)
