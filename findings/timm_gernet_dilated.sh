#!/usr/bin/env bash
# timm 1.0.31: a dilated GERNet has a layer that the network doesn't have; its ImageNet weights are loaded without a word about it.
# Guess: output_stride changes strides and dilations alone, as in a ResNet, so that a network's weights are those of its dilated form.
# Seen: at output strides 8 and 16 the last stage of gernet_m and gernet_l begins with a 1x1 convolution and a batch norm in place of
# the identity. With features_only=True a pretrained network is loaded all the same and that layer stays random: two loads of
# the same weights give different features. Without features_only the load raises.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.3.4
venv/bin/python - <<'PY'
import logging

import timm
import torch

logging.basicConfig(level=logging.WARNING)
print("timm", timm.__version__)
assert timm.__version__ == "1.0.31"
LAYER = {
    "stages_4.0.shortcut.conv.weight",
    *(f"stages_4.0.shortcut.bn.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")),
}


def loaded(name, stride, seed, features_only=True):
    """Return the network with the weights of the file, as if they had come from the hub."""
    torch.manual_seed(seed)
    return timm.create_model(
        name,
        pretrained=True,
        pretrained_cfg_overlay={"file": "weights.pth"},
        output_stride=stride,
        features_only=features_only,
    ).eval()


frame = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
for name, strides in (("resnet18", ()), ("gernet_m", (8, 16))):
    weights = timm.create_model(name).state_dict()
    torch.save(weights, "weights.pth")
    known = {key.replace("stages.", "stages_") for key in weights}
    for stride in (32, 16, 8):
        once, again = loaded(name, stride, 0), loaded(name, stride, 1)
        added = once.state_dict().keys() - known
        with torch.inference_mode():
            same = torch.equal(once(frame)[-1], again(frame)[-1])
        print(f"{name}, output stride {stride}: {len(added)} tensors added, two loads give {'the same' if same else 'other'} features")
        assert added == (LAYER if stride in strides else set())
        assert same != (stride in strides)
try:
    loaded("gernet_m", 8, 0, features_only=False)
except RuntimeError as error:
    assert "Missing key(s)" in str(error)
else:
    raise AssertionError("loaded")
PY
