"""Export a network for another runtime: `python -m adnet.export checkpoint=RUN/checkpoints/last.ckpt format=openvino output=DIR`.

Encoder and fusion are separate files, so that the anchor of a video is embedded once. Use the result like a checkpoint:
`python -m adnet.evaluate checkpoint=DIR backend=openvino output=MASKS`. `export.json` lists the SHA-256 of each file; a folder
with a missing or a changed file is refused. `format=safetensors` writes only the weights, in half precision, and a
`config.json` that describes their network, for publishing; this, too, can be used like a checkpoint.
"""

from pathlib import Path

from hydra.utils import instantiate
from omegaconf import DictConfig

from adnet.shared.command import command


@command("export")
def main(cfg: DictConfig) -> None:
    from adnet.backends.export import calibration_inputs, export_model
    from adnet.backends.load import describe
    from adnet.models.checkpoint import load_checkpoint, read_checkpoint
    from adnet.weights.hub import model_card
    from adnet.weights.pretrained import locate, write_pretrained

    checkpoint, output = locate(cfg.checkpoint), Path(cfg.output)
    model, size = load_checkpoint(checkpoint)
    size = tuple(cfg.size or size)
    if cfg.format == "safetensors":
        config = read_checkpoint(checkpoint)[0]
        card = model_card(output.resolve().name, model.variant, cfg.scores)
        write_pretrained(output, config, size, model.state_dict(), describe(checkpoint), card)
        print(f"{checkpoint}: {model.variant} -> {output}   weights alone, in half precision")
        return
    inputs = []
    if cfg.int8:
        flow = instantiate(cfg.flow) if model.needs_flow else None
        inputs = calibration_inputs(instantiate(cfg.data), cfg.calibration_frames, size, flow)
    exported = export_model(model, size, output, cfg.format, inputs, describe(checkpoint))
    difference = exported.metadata["largest_difference"]
    print(
        f"{checkpoint}: {model.variant} -> {output}   largest difference of logits {difference:.1e} of the largest logit"
    )


if __name__ == "__main__":
    main()
