#!/usr/bin/env bash
# onnx 1.23.2: its reference's Resize with align_corners and scales whose length isn't whole does not align the corners.
# Guess: the length is rounded down first, as the output's is, and the last number of a row stays the last.
# Seen: 10 numbers times 1.75 are 17. ONNX Runtime 1.32.0 and OpenVINO 2026.4.1 end in the last number, at 9; the reference,
# which reckons with 17.5, at 16 * 9 / 16.5 = 8.73. With the length 17 given as a size, all three agree.
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
x = np.arange(10, dtype=np.float32)[None, None]


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


def resized(inputs, constant):
    node = helper.make_node("Resize", inputs, ["y"], mode="linear", coordinate_transformation_mode="align_corners")
    return [result.ravel() for result in run(node, constant)]


aligned = np.linspace(0, 9, 17)
for result in resized(["x", "", "", "size"], numpy_helper.from_array(np.array([1, 1, 17]), "size")):
    np.testing.assert_allclose(result, aligned, atol=1e-5)
reference, runtime, intel = resized(
    ["x", "", "scale"], numpy_helper.from_array(np.array([1, 1, 1.75], np.float32), "scale")
)
print(f"the last of {len(reference)}: {reference[-1]:.3f} by the reference, {runtime[-1]:.3f} by ONNX Runtime")
np.testing.assert_allclose(runtime, aligned, atol=1e-5)
np.testing.assert_allclose(intel, aligned, atol=1e-5)
np.testing.assert_allclose(reference, np.arange(17) * 9 / 16.5, atol=1e-5)
PY
