#!/usr/bin/env bash
# OpenVINO 2026.4.1: a Softmax of ONNX's operator set 11 or 12 is read as one of set 13.
# Guess: until set 13, ONNX's Softmax normalises over its axis and all that follow; OpenVINO tells the sets apart, as its reader of set 9 does.
# Seen: sets 9 and 13 agree with ONNX Runtime 1.32.0. In sets 11 and 12, a softmax from axis 1 over a map of 2 x 3 x 3 (a spatial softmax, whose
# values add up to 1) is one over each pixel's two channels: they add up to 9.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet openvino==2026.4.1 onnxruntime==1.32.0 onnx==1.23.2 numpy==2.3.4
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper

print("OpenVINO", openvino.__version__, "ONNX Runtime", onnxruntime.__version__, "onnx", onnx.__version__)
assert openvino.__version__.startswith("2026.4.1")
logits = np.random.default_rng(0).normal(size=(1, 2, 3, 3)).astype(np.float32)
for opset in (9, 11, 12, 13):
    graph = helper.make_graph(
        [helper.make_node("Softmax", ["x"], ["y"], axis=1)],
        "softmax",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, logits.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, logits.shape)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.checker.check_model(model)
    content = model.SerializeToString()
    runtime = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": logits})[0]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    read = compiled({"x": logits})[0]
    print(f"set {opset}: all values add up to {runtime.sum():.3f} by ONNX Runtime, to {read.sum():.3f} by OpenVINO")
    np.testing.assert_allclose(runtime.sum(), 9 if opset == 13 else 1, rtol=1e-5)
    np.testing.assert_allclose(read.sum(), 1 if opset == 9 else 9, rtol=1e-5)
PY
