"""Download a benchmark: `python -m adnet.download data=davis2016|fbms [data.root=DIR] [url=...] [verify=false]`.

Resumes an interrupted download; checks a dataset that exists already. For `visal`, `davis2017`, `youtube_vos`, `duts` and
`msra10k`, it says where to get them.
"""

from __future__ import annotations

from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.data.download_dataset import download
from adnet.data.sequence import fingerprint
from adnet.shared.command import command


@command("download")
def main(cfg: DictConfig) -> None:
    name = HydraConfig.get().runtime.choices["data"]
    root = Path(cfg.data.get("root", name))
    splits = download(
        name, root, lambda where, split: instantiate(cfg.data, root=str(where), split=split), cfg.url, cfg.verify
    )
    for split, dataset in splits.items():
        content = fingerprint(dataset)
        print(
            f"{name} {split}: {len(content['sequences'])} sequences, {content['frames']} frames, annotations {content['sha256']}"
        )
    print(root)


if __name__ == "__main__":
    main()
