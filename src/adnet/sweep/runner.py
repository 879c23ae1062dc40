"""Run the jobs of a sweep: many jobs of one entry point, in one folder."""

import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from adnet.errors import UserError
from adnet.shared.check_config import check_config
from adnet.shared.command import quoted
from adnet.shared.files import write_json
from adnet.shared.run_folder import finished_summary
from adnet.sweep.folder_names import changes_results, job_names
from adnet.sweep.gpus import tell_jobs_the_gpus
from adnet.sweep.job import last_outcome, run_job, stop_jobs

STATUSES = ("finished", "pruned", "skipped", "busy", "stopped", "failed")
"""What becomes of jobs, in the order of the table."""

_MEANING = {"skipped": " (finished before)", "busy": " (another process works there)"}


@dataclass(frozen=True)
class SweepJob:
    """What became of a job, as in `sweep.json`. `scores` are J and F in [0, 1], None without a finished training."""

    folder: str
    status: str
    scores: dict[str, float | None]
    seconds: float | None
    reason: str | None
    log: str | None


class Sweep:
    """The jobs in the folder `hydra.sweep.dir` of a config, run by one launcher. Those that have finished are not run again."""

    def __init__(self, config: DictConfig, context: HydraContext) -> None:
        # `${now:...}` and relative paths could mean another folder in another process.
        with read_write(config.hydra.sweep):
            config.hydra.sweep.dir = str(Path(config.hydra.sweep.dir).absolute())
        self.folder = Path(config.hydra.sweep.dir)
        self._config = config
        self._context = context
        self._launcher: Launcher | None = None

    def check(self, name: str, job: Sequence[str]) -> None:
        """Compose the config of a job. Raises the error that the job would raise for a wrong key, value or name."""
        cfg: DictConfig = self._context.config_loader.load_sweep_config(self._config, [*job, *self._folder_of(name)])
        hydra_config = HydraConfig.instance()
        before = hydra_config.cfg
        try:
            with open_dict(cfg):
                cfg.hydra.runtime.output_dir = str(self.folder / name)
                hydra_config.set_config(cfg)
                command = cfg.hydra.job.config_name
                del cfg["hydra"]
            check_config(cfg, command)
        finally:
            hydra_config.cfg = before

    def begin(self) -> None:
        """Create the folder, with Hydra's record of the sweep."""
        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, self.folder / "multirun.yaml")

    def run(self, jobs: dict[str, list[str]], first: int = 0, batch: int | None = None) -> list[SweepJob]:
        """Run the jobs (folder name -> overrides) that have not finished; return the result of each.

        `first` is the number of the first job; `batch` is how many jobs the launcher gets at once (None: all). Raises UserError,
        before anything runs, if a folder holds a finished run of other settings.
        """
        left = [name for name in jobs if finished_summary(self.folder / name) is None]
        for name in jobs:
            if name not in left:
                self._refuse_another(self.folder / name, jobs[name])
        errors: dict[str, Exception] = {}
        for start in range(0, len(left), batch or len(left) or 1):
            names = left[start : start + (batch or len(left))]
            if error := self._launch({name: jobs[name] for name in names}, first + start):
                errors |= dict.fromkeys(names, error)
        return [self._row(self.folder / name, errors.get(name), skipped=name not in left) for name in jobs]

    def _refuse_another(self, folder: Path, job: Sequence[str]) -> None:
        if (earlier := last_outcome(folder)) is None:
            return
        before, now = ({*filter(changes_results, overrides)} for overrides in (earlier["overrides"], job))
        if before != now:
            old, new = ", ".join(sorted(before - now)) or "none of this", ", ".join(sorted(now - before)) or "less"
            raise UserError(f"{folder} holds a finished run of {old}, not {new}; give another hydra.sweep.dir")

    def _launch(self, jobs: dict[str, list[str]], first: int) -> Exception | None:
        """Launch jobs; return the launcher's own exception, if any. The outcome of each job is read from disk."""
        if self._launcher is None:
            self._launcher = Plugins.instance().instantiate_launcher(self._context, run_job, self._config)
        tell_jobs_the_gpus()
        for name in jobs:
            (self.folder / name / "job.json").unlink(missing_ok=True)
        # The basic launcher runs a job in this process, which passes signals on to it.
        alone = isinstance(self._launcher, BasicLauncher)
        try:
            with nullcontext() if alone else _jobs_end_first([self.folder / name for name in jobs]):
                self._launcher.launch([[*job, *self._folder_of(name)] for name, job in jobs.items()], first)
        except Exception as error:
            return error
        return None

    def _folder_of(self, name: str) -> list[str]:
        # As overrides, because launchers compose the config of each job again.
        return [f"hydra.sweep.dir={quoted(str(self.folder))}", f"hydra.sweep.subdir={quoted(name)}"]

    def _row(self, folder: Path, error: Exception | None, skipped: bool) -> SweepJob:
        summary = finished_summary(folder) or {}
        scores = {"J": summary.get("J"), "F": summary.get("F")}
        if skipped:
            return SweepJob(str(folder), "skipped", scores, None, None, None)
        outcome = last_outcome(folder)
        if outcome is None:
            reason = f"the launcher: {error}".splitlines()[0] if error else "another process works in this folder"
            return SweepJob(str(folder), "failed" if error else "busy", scores, None, reason, None)
        details = (outcome.get(name) for name in ("seconds", "reason", "log"))
        return SweepJob(str(folder), outcome["status"], scores, *details)

    def finish(self, rows: Sequence[SweepJob]) -> bool:
        """Print the table, write it to `sweep.json`, and return whether no job failed."""
        write_json(self.folder / "sweep.json", [asdict(row) for row in rows])
        print(f"\nsweep {self.folder}: {_table(rows)}")
        return all(row.status in ("finished", "skipped", "pruned") for row in rows)


@contextmanager
def _jobs_end_first(folders: Sequence[Path]) -> Iterator[None]:
    """On Ctrl-C and SIGTERM, let this machine's jobs save and end before they are killed; a second one doesn't wait."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def stop(number: int, _: Any) -> None:
        restore()
        print("waiting for the jobs to save and end", file=sys.stderr)
        stop_jobs(folders)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for number in before:
        signal.signal(number, stop)
    try:
        yield
    finally:
        restore()


def _table(rows: Sequence[SweepJob]) -> str:
    """Format the rows as text, failures last, below a line with the counts."""
    counts: Counter[str] = Counter(row.status for row in rows)
    width = max((len(Path(row.folder).name) for row in rows), default=0)
    lines = [", ".join(f"{counts[s]} {s}{_MEANING.get(s, '')}" for s in STATUSES if counts[s])]
    for row in sorted(rows, key=lambda row: STATUSES.index(row.status)):
        measured = ("J", row.scores["J"]), ("F", row.scores["F"])
        scores = "  ".join(f"{name} {100 * value:5.1f}" for name, value in measured if value is not None)
        seconds = f"{row.seconds:7.0f} s" if row.seconds is not None else ""
        lines.append(f"  {row.status:<9} {Path(row.folder).name:<{width}}  {scores}  {seconds}".rstrip())
        if row.status in ("failed", "stopped", "busy"):
            lines += [f"            {text}" for text in (row.reason or "interrupted", row.log) if text]
    return "\n".join(lines)


def run_grid(config: DictConfig, context: HydraContext, arguments: Sequence[str]) -> None:
    """Run every combination of `a=1,2 b=glob(c*)`; exit with 1 if one failed. Raises as `Sweep` does."""
    overrides = OverridesParser.create(config_loader=context.config_loader).parse_overrides(list(arguments))
    combinations = BasicSweeper.split_arguments(overrides, None)[0]
    jobs = dict(zip(job_names(combinations), combinations, strict=True))
    sweep = Sweep(config, context)
    for name, job in jobs.items():
        sweep.check(name, job)
    sweep.begin()
    if not sweep.finish(sweep.run(jobs, batch=config.hydra.sweeper.max_batch_size)):
        sys.exit(1)
