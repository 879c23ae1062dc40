"""The page that the hub shows for a network: what it is, how to use it, and its scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from adnet.errors import UserError

_TASK = "video-object-segmentation"
_DAVIS_LINES = {"mean": "mean", "recall": "share of frames above 0.5", "decay": "first quarter minus last"}


def model_card(name: str, variant: str, scores: str | Path | None) -> str:
    """Compose the card of a network, in Markdown with a YAML header.

    Args:
        name: OWNER/NAME, or the folder's name.
        variant: the network's variant.
        scores: the `scores.json` of an evaluation of this network; None: the card says that there is none.

    Raises UserError if `scores` is no such file.
    """
    results = [] if scores is None else _results(Path(scores))
    data = ModelCardData(
        library_name="adnet",
        tags=["pytorch", _TASK, "anchor-diffusion"],
        model_name=name if results else None,
        eval_results=results or None,
    )
    lines = [
        f"---\n{data.to_yaml()}\n---\n\n# {name}\n",
        f"A network of adnet, variant `{variant}`: it finds the main object of a video, with no hint at test time.\n",
        f'```python\nfrom adnet.models import ADNet\n\nnetwork = ADNet.from_pretrained("{name}")\n```\n',
        f"```sh\npython -m adnet.predict input=my.mp4 checkpoint={'hub:' if '/' in name else ''}{name}\n```\n",
        "## Scores\n",
    ]
    if results:
        first = results[0]
        lines += [f"On {first.dataset_name} {first.dataset_split or ''}, {first.task_name}, in percent.\n"]
        lines += ["| metric | |\n| --- | --: |", *(f"| {one.metric_name} | {one.metric_value} |" for one in results)]
    else:
        lines += ["None were given. `python -m adnet.evaluate` makes them."]
    return "\n".join(lines) + "\n"


def _results(file: Path) -> list[EvalResult]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        common = {
            "task_type": _TASK,
            "task_name": f"protocol {content['protocol']}" if content.get("protocol") else "protocol not named",
            "dataset_type": content["dataset"],
            "dataset_name": content["dataset"],
            "dataset_split": content.get("split"),
        }
        return [
            EvalResult(
                **common,
                metric_type=f"{metric}-{line}",
                metric_name=f"{metric} {line} ({meaning})" if line != "mean" else f"{metric} mean",
                metric_value=round(100 * content["mean"][metric][line], 1),
            )
            for metric in ("J", "F")
            for line, meaning in _DAVIS_LINES.items()
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{file} is not a scores.json of adnet's ({reason}); python -m adnet.evaluate writes one"
        ) from error
