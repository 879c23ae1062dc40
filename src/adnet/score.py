"""Score any method's masks: `python -m adnet.score predictions=DIR data=davis2016 [data.sequences=[a,b]] output=scores.json`.

`predictions` holds `<sequence>/<frame>.png`; every label but 0 is foreground.
"""

from __future__ import annotations

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.command import command
from adnet.errors import UserError
from adnet.files import write_json
from adnet.metrics import score_dataset


@command("score")
def main(cfg: DictConfig) -> None:
    output = Path(cfg.output)
    if output.exists() and not cfg.overwrite:
        raise UserError(f"{output} is there already; give another output, or overwrite=true")
    scores = score_dataset(instantiate(cfg.data), Path(cfg.predictions), cfg.workers)
    write_json(output, scores)
    width = max(map(len, scores["sequences"]))
    print(f"{'':<{width}}  J mean recall decay   F mean recall decay")
    for name, row in [*scores["sequences"].items(), ("mean", scores["mean"])]:
        values = [100 * row[measure][statistic] for measure in "JF" for statistic in ("mean", "recall", "decay")]
        print(
            f"{name:<{width}}  {values[0]:6.1f} {values[1]:6.1f} {values[2]:5.1f}   {values[3]:6.1f} {values[4]:6.1f} {values[5]:5.1f}"
        )
    print(output)


if __name__ == "__main__":
    main()
