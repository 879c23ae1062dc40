"""Measure speed on this machine: `python -m adnet.benchmark what=inference|gpu_check [output=benchmark.json]`."""

from importlib import import_module
from pathlib import Path

from omegaconf import DictConfig

from adnet.errors import UserError
from adnet.shared.command import command
from adnet.shared.files import write_json


@command("benchmark")
def main(cfg: DictConfig) -> None:
    if cfg.output and Path(cfg.output).exists() and not cfg.overwrite:
        raise UserError(f"{cfg.output} is there already; give another output, or overwrite=true")
    # Imported here, because each benchmark needs different libraries.
    measured = import_module(f"adnet.benchmark.{cfg.what}").run(cfg)
    if cfg.output:
        write_json(Path(cfg.output), measured, cfg.overwrite)
        print(cfg.output)
    if failed := measured.get("failed"):
        raise UserError(f"gpu_check: {', '.join(failed)} failed: {measured['checks'][failed[0]]['why']}")


if __name__ == "__main__":
    main()
