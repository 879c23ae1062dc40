#!/usr/bin/env bash
# torch 2.14.1: interpolate(antialias=True, align_corners=True) puts no corner on a corner: it moves the picture.
# Guess: the grid of align_corners, with a wider kernel where the picture shrinks; of a linear ramp, its two ends and even steps between.
# Seen: steps as wide as align_corners has them, from the start that half-pixel centres have. A ramp from 0 to 7 at 4 points has 3.0 and 5.4
# inside, 0.7 more than at 2.3 and 4.7; enlarged, the same kernel as without antialias is moved by up to 0.27 pixels. Without antialias, or
# without align_corners, all is as guessed. Exported to ONNX, ONNX Runtime 1.32.0 computes the grid as guessed, and so other numbers.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.3.4
venv/bin/python - <<'PY' 2> /dev/null
import onnxruntime
import torch
from torch.nn.functional import interpolate

assert torch.__version__.startswith("2.14.1")
ramp = torch.arange(8.0).expand(1, 1, 8, 8).contiguous()


def resized(width, antialias, align_corners):
    return interpolate(ramp, (8, width), mode="bilinear", antialias=antialias, align_corners=align_corners)[0, 0, 0]


for antialias in (False, True):
    print(f"antialias={antialias}:", [round(value, 2) for value in resized(4, antialias, True).tolist()])
torch.testing.assert_close(resized(4, False, True), torch.linspace(0, 7, 4))
torch.testing.assert_close(resized(4, True, False)[1:3], torch.tensor([2.5, 4.5]))
torch.testing.assert_close(resized(4, True, True)[1:3], torch.tensor([3.0, 5.375]))
for aligned in (False, True):
    difference = (resized(16, True, aligned) - resized(16, False, aligned))[1:-1]
    print(f"twice as wide, align_corners={aligned}: {difference.min():.2f} to {difference.max():.2f} by antialias")
    torch.testing.assert_close(difference, torch.full((14,), 7 / 15 / 2 - 0.5 if aligned else 0.0))


class Reduce(torch.nn.Module):
    def forward(self, frame):
        return interpolate(frame, (8, 4), mode="bilinear", antialias=True, align_corners=True)


torch.onnx.export(Reduce(), (ramp,), dynamo=True, verbose=False).save("reduce.onnx")
session = onnxruntime.InferenceSession("reduce.onnx", providers=["CPUExecutionProvider"])
(exported,) = session.run(None, {session.get_inputs()[0].name: ramp.numpy()})
print("exported:", exported[0, 0, 0].round(2).tolist())
torch.testing.assert_close(torch.from_numpy(exported[0, 0, 0, 1:3]), torch.tensor([7 / 3, 14 / 3]))
PY
