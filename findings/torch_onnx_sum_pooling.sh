#!/usr/bin/env bash
# torch 2.14.1: both of its ONNX exporters drop the divisor_override of an average pooling without a word.
# Guess: a factor beside ONNX's AveragePool, which has no such attribute, or an error.
# Seen: a sum over windows (divisor_override=1), as counts of pixels or of votes are made, is exported as the mean: a quarter for 2 x 2.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.14.1 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0 numpy==2.3.4
venv/bin/python - <<'PY' 2> /dev/null
import io

import numpy as np
import onnxruntime
import torch

print("torch", torch.__version__, "ONNX Runtime", onnxruntime.__version__)
assert torch.__version__.startswith("2.14.1")
votes = torch.arange(16.0).reshape(1, 1, 4, 4)
pooling = torch.nn.AvgPool2d(2, divisor_override=1)
wanted = pooling(votes).numpy()
assert wanted[0, 0, 0, 0] == 0 + 1 + 4 + 5
for dynamo in (False, True):
    file = io.BytesIO()
    if dynamo:
        file.write(torch.onnx.export(pooling, (votes,), dynamo=True, verbose=False).model_proto.SerializeToString())
    else:
        torch.onnx.export(pooling, (votes,), file, dynamo=False)
    session = onnxruntime.InferenceSession(file.getvalue(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {session.get_inputs()[0].name: votes.numpy()})
    print(f"dynamo={dynamo}: {wanted.ravel().tolist()} becomes {found.ravel().tolist()}")
    np.testing.assert_allclose(found, wanted / 4)
PY
