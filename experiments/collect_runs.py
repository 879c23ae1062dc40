"""Copy what a report reads of finished runs, so that it can be kept in the repository.

    python experiments/collect_runs.py RUNS OUTPUT

Of each finished run below RUNS, `config.yaml`, `summary.json` and `metrics.csv` are copied, and `scores.json` and `embeddings.json`
of its evaluations, into a folder of the same name below OUTPUT. Checkpoints, masks and logs are not copied, and neither are runs
that have not finished. Paths in the config are made relative to the working directory, or to `~`; of more than a thousand
sequences, as a mix with images has, `summary.json` keeps the names of the first data set's alone.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from adnet.errors import UserError
from adnet.shared.command import in_one_line
from adnet.shared.files import write_text

KEPT = ("config.yaml", "summary.json", "metrics.csv", "evaluation/*/scores.json", "evaluation/*/embeddings.json")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path)
    parser.add_argument("output", type=Path)
    given = parser.parse_args()
    with in_one_line():
        for folder in collect(given.runs, given.output):
            print(folder)


def collect(runs: Path, output: Path) -> list[Path]:
    """Copy the runs below `runs`; return their folders in `output`. Raises UserError if there are none or a path can't be made relative."""
    folders = sorted(file.parent for file in runs.rglob("summary.json"))
    if not folders:
        raise UserError(f"{runs}: no finished run; a training writes summary.json when it ends")
    texts = {
        output / file.relative_to(runs): _relative(file)
        for folder in folders
        for pattern in KEPT
        for file in sorted(folder.glob(pattern))
    }
    for path, text in texts.items():
        write_text(path, text)
    return [output / folder.relative_to(runs) for folder in folders]


def _relative(file: Path) -> str:
    text = file.read_text(encoding="utf-8")
    if file.name == "summary.json":
        summary = json.loads(text)
        for split in summary.get("data", {}).values():
            if len(names := split["sequences"]) > 1000:
                split["sequences"] = [name for name in names if "/" not in name]
        return json.dumps(summary, indent=1) + "\n"
    if file.name != "config.yaml":
        return text
    text = text.replace(f"{Path.cwd()}{os.sep}", "").replace(str(Path.home()), "~")
    for line in text.splitlines():
        if " /" in line:
            raise UserError(
                f"{file}: `{line.strip()}` names a place of this machine; run it with a path below the working directory"
            )
    return text


if __name__ == "__main__":
    main()
