"""A page to drop a video on: `python -m adnet.app [checkpoint=RUN/checkpoints/last.ckpt]`, then http://127.0.0.1:7860.

Serves the page until Ctrl-C. Uploads and results are in a temporary folder, and deleted when visitors close the page.
"""

import os
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.data.synthetic import synthesize
from adnet.shared.command import command
from adnet.shared.machine import need_extra


@command("app")
def main(cfg: DictConfig) -> None:
    from adnet.app.segmentation import Network
    from adnet.backends.load import load_backend
    from adnet.backends.runtime import METADATA
    from adnet.video.sources import video_sources
    from adnet.weights.pretrained import locate

    # Also delete the folders on SIGTERM, which stops services.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with TemporaryDirectory(prefix="adnet-app-") as folder:
        # Gradio also reads this when it is imported.
        os.environ["GRADIO_TEMP_DIR"] = str(Path(folder) / "uploads")
        need_extra("app", "gradio", "adnet.app")
        from adnet.app import page

        model, size = load_backend(cfg.checkpoint, cfg.backend, cfg.device)
        checkpoint = locate(cfg.checkpoint)
        learnable = checkpoint if checkpoint.is_file() and checkpoint.name != METADATA else None
        network = Network(model, instantiate(cfg.protocol), tuple(cfg.size or size), learnable)
        limits = page.Limits(cfg.max_megabytes, cfg.max_frames, cfg.max_megapixels, cfg.max_waiting)
        root = Path(folder) / "synthetic"
        if cfg.examples:
            synthesize(root, train=0, val=cfg.examples, frames=24)
        examples = video_sources(f"{root}/JPEGImages/480p/*", fps=12) if cfg.examples else []
        served = page.Page(network, limits, examples, Path(folder))
        blocks = served.launch(cfg.host, cfg.port)
        print(f"{blocks.local_url} until Ctrl-C", flush=True)
        try:
            blocks.block_thread()
        finally:
            blocks.close(verbose=False)


if __name__ == "__main__":
    main()
