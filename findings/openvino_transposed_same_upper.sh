#!/usr/bin/env bash
# OpenVINO 2026.4.1: a transposed convolution whose ONNX node gives the output's shape and SAME_UPPER is shifted by a pixel.
# Guess: an odd padding is one more at the end for SAME_UPPER and at the beginning for SAME_LOWER, as the operator's text says, and with
# the shape left out, which is the input's times the stride anyway, the result is the same.
# Seen: so it is by ONNX Runtime 1.32.0 and ONNX's reference (1.23.2). OpenVINO does so too without the shape; with it, SAME_UPPER is
# computed as SAME_LOWER, and a decoder's features and masks lie a pixel higher and further to the left for each such layer.
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
feed = {"x": np.array([[[1, 2, 3]]], np.float32), "w": np.array([[[1, 10, 100]]], np.float32)}
upper, lower = [1, 10, 102, 20, 203, 30], [10, 102, 20, 203, 30, 300]


def run(**attributes):
    """Return the transposed convolution of stride 2 by the reference, ONNX Runtime and OpenVINO."""
    node = helper.make_node("ConvTranspose", ["x", "w"], ["y"], strides=[2], **attributes)
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in feed.items()]
    graph = helper.make_graph([node], "one_node", inputs, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    content = model.SerializeToString()
    runtime = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, feed)[0]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [array.ravel().tolist() for array in (ReferenceEvaluator(model).run(None, feed)[0], runtime, compiled(feed)[0])]


for name, guess, with_shape in (("SAME_UPPER", upper, lower), ("SAME_LOWER", lower, lower)):
    for shape, seen in (({}, guess), ({"output_shape": [6]}, with_shape)):
        reference, runtime, by_openvino = run(auto_pad=name, **shape)
        print(f"{name} {shape or 'no shape'}: ONNX Runtime {runtime}, OpenVINO {by_openvino}")
        assert reference == runtime == guess and by_openvino == seen
PY
