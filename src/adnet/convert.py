"""Turn a published checkpoint into one of ours: `python -m adnet.convert checkpoint=ad.pth variant=full output=full.ckpt`.

The result goes wherever a training checkpoint goes: `python -m adnet.evaluate checkpoint=full.ckpt protocol=published`.
"""

from __future__ import annotations

import io
from pathlib import Path

from omegaconf import DictConfig

from adnet.errors import UserError
from adnet.shared.command import command
from adnet.shared.files import replacing


@command("convert")
def main(cfg: DictConfig) -> None:
    import torch

    from adnet.models import load_published, published_config

    output = Path(cfg.output)
    if output.exists() and not cfg.overwrite:
        raise UserError(f"{output} exists; give another output, or overwrite=true")
    model = load_published(cfg.checkpoint, cfg.variant)
    config = published_config(model.variant, model.encoder.backbone_name)
    checkpoint = {
        "state_dict": {f"model.{key}": value for key, value in model.state_dict().items()},
        "hyper_parameters": {"model": config, "test_size": [481, 857]},
    }
    content = io.BytesIO()  # not the file itself, because PyTorch's error for a full disk is misleading
    torch.save(checkpoint, content)
    with replacing(output, cfg.overwrite) as draft:
        draft.write_bytes(content.getbuffer())
    print(f"{cfg.checkpoint}: {model.variant} on {model.encoder.backbone_name} -> {output}")


if __name__ == "__main__":
    main()
