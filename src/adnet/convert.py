"""Turn what others write into what adnet reads: checkpoints and datasets.

    python -m adnet.convert checkpoint=ad.pth variant=full output=full.ckpt     # a published checkpoint
    python -m adnet.convert data=coco data.root=export output=mine              # any dataset, into the layout of `data=folder`

The checkpoint goes wherever one of a training goes: `python -m adnet.evaluate checkpoint=full.ckpt protocol=published`.
"""

from __future__ import annotations

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.data.copy_dataset import copy_dataset
from adnet.errors import UserError
from adnet.shared.command import command


@command("convert")
def main(cfg: DictConfig) -> None:
    if bool(cfg.data) == bool(cfg.checkpoint):
        raise UserError("give checkpoint=FILE and variant=NAME, or data=NAME: one of them is turned into output")
    output = Path(cfg.output)
    if cfg.data:
        dataset = instantiate(cfg.data)
        copy_dataset(dataset, output)
        print(f"{dataset.name} {dataset.split}: {len(dataset.sequences)} sequences -> {output}")
    else:
        convert_checkpoint(cfg.checkpoint, cfg.variant, output, cfg.overwrite)


def convert_checkpoint(checkpoint: str, variant: str | None, output: Path, overwrite: bool) -> None:
    """Write a published checkpoint as one of ours. Raises UserError if `output` is there, and for another variant or file."""
    from adnet.models import load_published
    from adnet.models.checkpoint import write_checkpoint

    if variant is None:
        raise UserError("variant has no value: give variant=full, or the one that the checkpoint has")
    if output.exists() and not overwrite:
        raise UserError(f"{output} exists; give another output, or overwrite=true")
    model = load_published(checkpoint, variant)
    write_checkpoint(output, model, (481, 857), overwrite)
    print(f"{checkpoint}: {model.variant} on {model.encoder.backbone_name} -> {output}")


if __name__ == "__main__":
    main()
