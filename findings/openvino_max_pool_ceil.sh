#!/usr/bin/env bash
# OpenVINO 2026.4.1: an ONNX MaxPool with ceil_mode=1 grows a row and a column of -3.4e38, which other runtimes don't have.
# Guess: the shape and numbers of ONNX Runtime: a window that would begin in the padding at the end is left out.
# Seen: kernel 2, stride 2, padding 1 on 5x7: 3x4 by ONNX Runtime 1.32.0 and ONNX's reference, 4x5 by OpenVINO, whose last
# row and column are the lowest float32. AveragePool with the same attributes is 3x4 in all three, and so is MaxPool
# with kernel 3, the usual one of a ResNet's stem, whose windows always reach a pixel.
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
from onnx.reference import ReferenceEvaluator

print("OpenVINO", openvino.__version__, "ONNX Runtime", onnxruntime.__version__, "onnx", onnx.__version__)
assert openvino.__version__.startswith("2026.4.1")
features = np.random.default_rng(0).normal(size=(1, 1, 5, 7)).astype(np.float32)


def pool(operator, kernel):
    node = helper.make_node(
        operator, ["x"], ["y"], kernel_shape=[kernel] * 2, strides=[2, 2], pads=[1] * 4, ceil_mode=1
    )
    graph = helper.make_graph(
        [node],
        "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, features.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    content = model.SerializeToString()
    reference = ReferenceEvaluator(model).run(None, {"x": features})[0]
    runtime = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": features})[0]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return reference, runtime, compiled({"x": features})[0]


for operator, kernel in (("AveragePool", 2), ("MaxPool", 3), ("MaxPool", 2)):
    reference, runtime, intel = pool(operator, kernel)
    print(f"{operator} {kernel}: {runtime.shape} by ONNX Runtime, {intel.shape} by OpenVINO, lowest {intel.min():.2g}")
    np.testing.assert_allclose(reference, runtime, atol=1e-6)
    assert runtime.shape == (1, 1, 3, 4)
    np.testing.assert_allclose(intel[..., :3, :4], runtime, atol=1e-6)
    if (operator, kernel) == ("MaxPool", 2):
        assert intel.shape == (1, 1, 4, 5)
        assert (intel[..., 3, :] == np.finfo(np.float32).min).all()
        assert (intel[..., 4] == np.finfo(np.float32).min).all()
    else:
        assert intel.shape == runtime.shape
PY
