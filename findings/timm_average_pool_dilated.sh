#!/usr/bin/env bash
# timm 1.0.31: at output stride 8 the average pools of a ResNet-D are not dilated, so its features are not those of its weights.
# Guess: dilated, a network computes the same features four times as densely; each fourth one is that of output stride 32.
# Seen: so it is for resnet50 at output strides 16 and 8, and for resnet50d at 16. For resnet50d at 8, the shortcut of the last stage
# averages four neighbours of the dense grid, where the network averages every second one. Dilated by hand, the pool gives what was guessed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.3.4
venv/bin/python - <<'PY'
import timm
import torch

print("timm", timm.__version__)
assert timm.__version__ == "1.0.31"
torch.manual_seed(0)


class DilatedPool(torch.nn.Module):
    """The mean of pixels 0 and 2 along both sides."""

    def forward(self, x):
        x = torch.nn.functional.pad(x, (0, 2, 0, 2))
        return (x[..., :-2, :-2] + x[..., :-2, 2:] + x[..., 2:, :-2] + x[..., 2:, 2:]) / 4


def network(name, stride):
    return timm.create_model(name, features_only=True, output_stride=stride).eval()


def error(network, sparse, frame):
    """Return the largest error in the middle of the frame, far from any padding, in standard deviations of the features."""
    dense = network(frame)[-1]
    step = dense.shape[-1] // sparse.shape[-1]
    difference = (dense[..., ::step, ::step] - sparse)[..., 4:6, 4:6].abs().max()
    return float(difference / sparse.std())


frame = torch.randn(1, 3, 320, 320)
with torch.inference_mode():
    for name in ("resnet50", "resnet50d"):
        whole = network(name, 32)
        for layer in whole.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.weight.uniform_(0.5, 1.5)
        sparse = whole(frame)[-1]
        for stride in (16, 8):
            dilated = network(name, stride)
            dilated.load_state_dict(whole.state_dict())
            off = error(dilated, sparse, frame)
            print(f"{name} at output stride {stride}: off by {off:.1g}")
            if (name, stride) == ("resnet50d", 8):
                assert off > 0.1
                dilated.layer4[0].downsample[0] = DilatedPool()
                off = error(dilated, sparse, frame)
                print(f"with a pool that is dilated as well: off by {off:.1g}")
            assert off < 1e-4
PY
