#!/usr/bin/env bash
# onnx 1.23.2: its reference's LogSoftmax is -inf where the logits are more than about 104 apart.
# Guess: logits minus the logarithm of their sum of exponentials: for logits 0, -50, -100, -120 those numbers themselves.
# Seen: so it is by ONNX Runtime 1.32.0. The reference takes the logarithm of float32's softmax, which has few digits left below 1e-38 and
# is 0 from 1e-45 on: -99.98 for -100, -inf for -120, and a loss computed with it is infinite.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.3.4
venv/bin/python - <<'PY'
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "ONNX Runtime", onnxruntime.__version__)
assert onnx.__version__ == "1.23.2"
logits = np.array([[0, -50, -100, -120]], np.float32)
values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, (1, 4)) for name in ("x", "y")]
graph = helper.make_graph([helper.make_node("LogSoftmax", ["x"], ["y"], axis=1)], "one_node", values[:1], values[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    (reference,) = ReferenceEvaluator(model).run(None, {"x": logits})
(runtime,) = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": logits})
print("reference", reference[0], "ONNX Runtime", runtime[0])
np.testing.assert_allclose(runtime, logits, rtol=1e-6)
np.testing.assert_allclose(reference[0, :2], logits[0, :2], rtol=1e-6)
assert 0.01 < reference[0, 2] + 100 < 0.03 and reference[0, 3] == -np.inf
PY
