#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0: its "drop-in replacements" for PyTorch's cross entropies divide by pixels that they ignore.
# Guess: with the same ignore_index and no smoothing, the loss of PyTorch (2.14.1), the mean over the pixels that count.
# Seen: three quarters of a frame are void (255): SoftCrossEntropyLoss and SoftBCEWithLogitsLoss are a quarter of PyTorch's, so a frame weighs
# the less, the more of it is void; FocalLoss, with the same ignore_index, averages over the pixels that count. Without void, all agree.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet segmentation-models-pytorch==0.6.0 timm==1.0.31 torch==2.14.1 torchvision==0.29.1 numpy==2.3.4
venv/bin/python - <<'PY'
import segmentation_models_pytorch
import torch
from segmentation_models_pytorch.losses import FocalLoss, SoftBCEWithLogitsLoss, SoftCrossEntropyLoss
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

print("segmentation-models-pytorch", segmentation_models_pytorch.__version__)
assert segmentation_models_pytorch.__version__ == "0.6.0"
torch.manual_seed(0)
logits = torch.randn(1, 2, 16, 16)
annotated = torch.randint(0, 2, (1, 16, 16))
void = annotated.clone()
void[:, :12] = 255
single = logits[:, 1]
for name, labels, share in (("all annotated", annotated, 1), ("three quarters void", void, 0.25)):
    counted = labels != 255
    several = cross_entropy(logits, labels, ignore_index=255)
    binary = binary_cross_entropy_with_logits(single[counted], labels[counted].float())
    soft = SoftCrossEntropyLoss(smooth_factor=0.0, ignore_index=255)(logits, labels)
    soft_binary = SoftBCEWithLogitsLoss(ignore_index=255)(single, labels.float())
    focal = FocalLoss("binary", gamma=0.0, ignore_index=255)(single[:, None], labels[:, None].float())
    print(f"{name}: cross entropy {several:.3f}, SoftCrossEntropyLoss {soft:.3f}; binary {binary:.3f}, SoftBCEWithLogitsLoss {soft_binary:.3f}")
    torch.testing.assert_close(soft, share * several)
    torch.testing.assert_close(soft_binary, share * binary)
    torch.testing.assert_close(focal, binary)
PY
