"""Train a variant, then evaluate it: `python -m adnet.train +experiment=ablation_anchor [scale=lite] [key=value ...]`.

The run folder, `runs/NAME` with a name made from the command line (or `hydra.run.dir=...`), is self-contained: `config.yaml`,
`metrics.csv`, `checkpoints/`, `evaluation/`, `summary.json`. The same command resumes an interrupted run.
"""

from omegaconf import DictConfig

from adnet.shared.command import command, resolved, run_dir


@command("train")
def main(cfg: DictConfig) -> None:
    from adnet.training.run import train, try_out

    if cfg.trainer.get("fast_dev_run"):
        try_out(cfg)
    else:
        train(resolved(cfg), run_dir())


if __name__ == "__main__":
    main()
