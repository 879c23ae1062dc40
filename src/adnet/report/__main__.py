"""Make tables, figures and an HTML page from finished runs.

python -m adnet.report runs=outputs output=report
python -m adnet.report 'runs=[outputs/full,outputs/baseline]'
"""

from pathlib import Path

from omegaconf import DictConfig

from adnet.report.page import write_report
from adnet.report.read import find_runs, unfinished_runs
from adnet.shared.command import command


@command("report")
def main(cfg: DictConfig) -> None:
    """Write the report; print the path of its page, then a line per run (`full seed 0: J 12.3 -> 67.8, F 8.1 -> 64.0`)."""
    runs = [Path(cfg.runs)] if isinstance(cfg.runs, str) else [Path(path) for path in cfg.runs]
    found = find_runs(runs)
    options = {str(key): value for key, value in cfg.items() if key not in ("runs", "output")}
    print(write_report(found, Path(cfg.output), **options))
    for run in found:
        seed = "" if run.seed is None else f" seed {run.seed}"
        scores = []
        for measure, after in (("J", run.J), ("F", run.F)):
            before = f"{100 * run.initial[measure]:.1f} -> " if run.initial else ""
            scores.append(f"{measure} {before}{'-' if after is None else f'{100 * after:.1f}'}")
        print(f"{run.variant}{seed}: {', '.join(scores)}  ({run.folder})")
    for folder in unfinished_runs(runs):
        print(f"left out, because its training has not finished: {folder}")


if __name__ == "__main__":
    main()
