"""Train a variant, then evaluate it: `python -m adnet.train +experiment=ablation_anchor [scale=lite] [key=value ...]`.

The run folder, `runs/NAME` by the command line (`hydra.run.dir=...` moves it), is complete on its own: `config.yaml`,
`metrics.csv`, `checkpoints/`, `evaluation/`, `summary.json`. The same command goes on with a run that was cut off.
"""

from __future__ import annotations

from omegaconf import DictConfig

from adnet.shared.command import command, resolved, run_dir


@command("train")
def main(cfg: DictConfig) -> None:
    from adnet.training.run import train

    train(resolved(cfg), run_dir())


if __name__ == "__main__":
    main()
