"""Turn what others write into what adnet reads: checkpoints and datasets.

    python -m adnet.convert checkpoint=ad.pth variant=full output=full.ckpt     # a published checkpoint
    python -m adnet.convert data=coco data.root=export output=mine              # any dataset, into the layout of `data=folder`

The checkpoint goes wherever one of a training goes: `python -m adnet.evaluate checkpoint=full.ckpt protocol=published`.
"""

import shutil
from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig
from tqdm import tqdm

from adnet.data.masks import write_mask
from adnet.data.videos import VideoDataset, images_or_sequences
from adnet.errors import UserError
from adnet.shared.command import command
from adnet.shared.files import new_folder, write_text


@command("convert")
def main(cfg: DictConfig) -> None:
    if bool(cfg.data) == bool(cfg.checkpoint):
        raise UserError("give checkpoint=FILE and variant=NAME, or data=NAME: one of them is turned into output")
    output = Path(cfg.output)
    if cfg.data:
        dataset = instantiate(cfg.data)
        copy_dataset(dataset, output)
        number = len(dataset.sequences)
        kind = images_or_sequences(number, sum(len(sequence.frames) for sequence in dataset.sequences))
        print(f"{dataset.name} {dataset.split}: {number} {kind if number != 1 else kind[:-1]} -> {output}")
    else:
        convert_checkpoint(cfg.checkpoint, cfg.variant, output, cfg.overwrite)


def copy_dataset(dataset: VideoDataset, output: Path) -> None:
    """Write `output/frames/<sequence>/`, copies of the frames, `output/masks/<sequence>/<frame>.png`, 0 and 255, and `output/<split>.txt`.

    A `/` in a sequence's name becomes `-`. Atomic. Raises UserError if `output` is there already, and not an empty folder.
    """
    names = [sequence.name.replace("/", "-") for sequence in dataset.sequences]
    if len({*names}) < len(names):
        raise UserError(f"{dataset.name} {dataset.split} has sequences whose names differ in / and - alone: rename one")
    with new_folder(output) as draft:
        pairs = zip(names, dataset.sequences, strict=True)
        for name, sequence in tqdm(pairs, "sequences", len(names), leave=False, disable=None):
            (draft / "frames" / name).mkdir(parents=True)
            for frame in sequence.frames:
                shutil.copyfile(frame, draft / "frames" / name / frame.name)
                if frame.stem in sequence.annotations:
                    write_mask(draft / "masks" / name / f"{frame.stem}.png", sequence.annotation(frame))
        if dataset.split != "all":
            write_text(draft / f"{dataset.split}.txt", "\n".join(names) + "\n")


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
