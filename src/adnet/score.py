"""Score any method's predictions: `python -m adnet.score predictions=DIR data=davis2016 [data.sequences=[a,b]] output=scores.json`.

`predictions` holds `<sequence>/<frame>.png` or `.npy`: masks (0/255, 0/1, palette), where every label except 0 is foreground, or
probability maps (8 or 16 bits, floats in [0, 1]), which are thresholded at 0.5 for J and F and also scored as saliency maps. The
kind is determined from a sample and printed, unless `kind=masks` or `kind=probabilities` is given. Or `predictions` is a file: COCO
annotations, or COCO results.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.data.coco_dataset import write_predictions
from adnet.data.sequence import VideoDataset
from adnet.errors import UserError
from adnet.metrics import score_dataset
from adnet.shared.command import command
from adnet.shared.files import write_json, write_text


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
    print(_report(scores))
    print(output, *([table] if table else []), sep="\n")


def _report(scores: dict[str, Any]) -> str:
    sequences, attributes = scores["sequences"], scores.get("attributes", {})
    width = max(map(len, [*sequences, "sequence"]))
    lines = [
        f"{scores['kind']} ({scores['kind_reason']})",
        "",
        f"{'sequence':<{width}}  J mean recall decay   F mean recall decay",
    ]
    for name, row in [*sequences.items(), ("mean", scores["mean"])]:
        J, F = ([100 * row[measure][statistic] for statistic in ("mean", "recall", "decay")] for measure in "JF")
        lines.append(f"{name:<{width}}  {J[0]:6.1f} {J[1]:6.1f} {J[2]:5.1f}   {F[0]:6.1f} {F[1]:6.1f} {F[2]:5.1f}")
    if attributes:
        lines += ["", f"{'attribute':<{width}}  J mean   F mean   sequences"]
        for name, row in attributes.items():
            lines.append(f"{name:<{width}}  {100 * row['J']:6.1f} {100 * row['F']:8.1f} {len(row['sequences']):11d}")
    pixel = [100 * scores["pixel"][name] for name in ("precision", "recall", "F_measure")]
    lines += ["", "pixels of all masks: precision {:.1f}, recall {:.1f}, F-measure {:.1f}".format(*pixel)]
    for convention, row in scores.get("saliency", {}).items():
        more = "".join(f", {key} {100 * row[key]:.1f}" for key in ("F_adaptive", "S") if key in row)
        lines.append(f"saliency, {convention}: MAE {row['MAE']:.4f}, F_max {100 * row['F_max']:.1f}{more}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
