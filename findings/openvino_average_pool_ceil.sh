#!/usr/bin/env bash
# OpenVINO 2026.4.1: an ONNX AveragePool with ceil_mode=1 and count_include_pad=1 divides its last windows by other numbers.
# Guess: the numbers of ONNX Runtime and PyTorch: padding counts, what lies beyond the padding does not.
# Seen: a row of ones, kernel 3, stride 2, padding 1: the last window has a pixel and one place of padding. ONNX Runtime 1.32.0
# and ONNX's reference (1.23.2) divide by 2, OpenVINO by 3. With either attribute alone, all agree.
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
assert openvino.__version__.startswith("2026.4.1")
x = np.ones((1, 1, 10), np.float32)


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


def pooled(ceil, padding):
    node = helper.make_node(
        "AveragePool", ["x"], ["y"], kernel_shape=[3], strides=[2], pads=[1, 1], ceil_mode=ceil, count_include_pad=padding
    )
    return run(node)


for ceil, padding in ((0, 1), (1, 0), (1, 1)):
    reference, runtime, intel = pooled(ceil, padding)
    last = f"{runtime[0, 0, -1]:.3f} by ONNX Runtime, {intel[0, 0, -1]:.3f} by OpenVINO"
    print(f"ceil_mode={ceil}, count_include_pad={padding}: the last is {last}")
    np.testing.assert_allclose(reference, runtime, atol=1e-6)
    if ceil and padding:
        np.testing.assert_allclose(runtime.ravel(), [2 / 3, 1, 1, 1, 1, 1 / 2], atol=1e-6)
        np.testing.assert_allclose(intel.ravel(), [2 / 3, 1, 1, 1, 1, 1 / 3], atol=1e-6)
    else:
        np.testing.assert_allclose(intel, runtime, atol=1e-6)
PY
