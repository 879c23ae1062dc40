"""Score any method's predictions: `python -m adnet.score predictions=DIR data=davis2016 [data.sequences=[a,b]] output=scores.json`.

`predictions` holds `<sequence>/<frame>.png` or `.npy`: masks (0/255, 0/1, palette), where every label except 0 is foreground, or
probability maps (8 or 16 bits, floats in [0, 1]), which are thresholded at 0.5 for J and F and also scored as saliency maps. The
kind is determined from a sample and printed, unless `kind=masks` or `kind=probabilities` is given. Or `predictions` is a file: COCO
annotations, or COCO results.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.data.coco_dataset import write_predictions
from adnet.data.videos import VideoDataset
from adnet.errors import UserError
from adnet.metrics import score_dataset
from adnet.shared.command import command
from adnet.shared.files import write_json, write_text
from adnet.shared.templates import TEMPLATES


@command("score")
def main(cfg: DictConfig) -> None:
    output = Path(cfg.output)
    table = output.with_name(f"{output.stem}_per_frame.csv") if cfg.per_frame else None
    if output.is_dir():
        raise UserError(f"output={output} is a folder; give a file, such as {output / 'scores.json'}")
    for file in (output, table):
        if file and file.exists() and not cfg.overwrite:
            raise UserError(f"{file} is there already; give another output, or overwrite=true")
    dataset: VideoDataset = instantiate(cfg.data)
    predictions = Path(cfg.predictions)
    with TemporaryDirectory() as scratch:
        if predictions.suffix.lower() == ".json":
            folder = Path(scratch) / predictions.name
            write_predictions(predictions, dataset, folder, cfg.data.get("category"))
            predictions = folder
        scores = score_dataset(dataset, predictions, cfg.workers, kind=cfg.kind)
    write_json(output, scores, cfg.overwrite)
    if table:
        rows = ["sequence,frame,J,F"]
        for name, row in scores["sequences"].items():
            columns = row["frames"], row["J"]["frames"], row["F"]["frames"]
            rows += [f"{name},{stem},{J},{F}" for stem, J, F in zip(*columns, strict=True)]
        write_text(table, "\n".join([*rows, ""]), cfg.overwrite)
    print(TEMPLATES.get_template("score.txt.j2").render(scores), end="")
    print(output, *([table] if table else []), sep="\n")


if __name__ == "__main__":
    main()
