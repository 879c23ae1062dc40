#!/usr/bin/env bash
# onnx 1.23.2: its reference's LpNormalization with p=1 divides by the sum of signed numbers, not by the norm.
# Guess: the sum of absolute values, as the operator's text and its name say.
# Seen: 3, -1, 2, -5 become 3, -1, 2, -5 divided by -1 by the reference and by 11 by ONNX Runtime 1.32.0 and OpenVINO 2026.4.1; for
# p=2 all three agree.
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
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("OpenVINO", openvino.__version__, "ONNX Runtime", onnxruntime.__version__, "onnx", onnx.__version__)
assert onnx.__version__ == "1.23.2"
x = np.array([[3, -1, 2, -5]], np.float32)


def run(node, *constants):
    """Return the node's result by the reference, ONNX Runtime and OpenVINO."""
    graph = helper.make_graph(
        [node],
        "one_node",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    content = model.SerializeToString()
    reference = ReferenceEvaluator(model).run(None, {"x": x})[0]
    runtime = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return reference, runtime, compiled({"x": x})[0]


for p, norm in ((2, np.sqrt(39)), (1, 11)):
    reference, runtime, intel = run(helper.make_node("LpNormalization", ["x"], ["y"], p=p, axis=1))
    print(f"p={p}: {reference.ravel().round(3)} by the reference, {runtime.ravel().round(3)} by ONNX Runtime")
    np.testing.assert_allclose(runtime, x / norm, atol=1e-6)
    np.testing.assert_allclose(intel, x / norm, atol=1e-6)
    np.testing.assert_allclose(reference, x / (norm if p == 2 else -1), atol=1e-6)
PY
