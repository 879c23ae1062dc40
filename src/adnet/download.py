"""Download a benchmark: `python -m adnet.download data=davis2016|fbms [data.root=DIR] [url=...] [verify=false]`.

Resumes an interrupted download; checks a dataset that exists already. For one without a public address, it says where to get it.
"""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

from omegaconf import DictConfig

from adnet.data.download_dataset import download
from adnet.data.sequence import fingerprint
from adnet.shared.command import command


@command("download")
def main(cfg: DictConfig) -> None:
    known, root = resolve_name(cfg.data._target_), Path(cfg.data.root)
    for split, dataset in download(known, root, cfg.url, cfg.verify).items():
        content = fingerprint(dataset)
        print(
            f"{dataset.name} {split}: {len(content['sequences'])} sequences, {content['frames']} frames, annotations {content['sha256']}"
        )
    print(root)


if __name__ == "__main__":
    main()
