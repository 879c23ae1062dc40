#!/usr/bin/env bash
# OpenVINO 2026.4.1: an ONNX Resize with keep_aspect_ratio_policy is read without a word, and stretched to the size all the same.
# Guess: the shape of ONNX Runtime, or an error that the attribute isn't supported, as for other attributes of Resize.
# Seen: 7x10 made to fit in 11x4 is 3x4 and to cover it 11x16 by ONNX Runtime 1.32.0 and ONNX's reference (1.23.2); by OpenVINO
# both are 11x4, the numbers of the policy "stretch".
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
x = np.random.default_rng(0).normal(size=(1, 1, 7, 10)).astype(np.float32)


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


def resized(policy):
    node = helper.make_node(
        "Resize", ["x", "", "", "size"], ["y"], mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy
    )
    return run(node, numpy_helper.from_array(np.array([11, 4]), "size"))


stretched = resized("stretch")
for result in stretched:
    np.testing.assert_allclose(result, stretched[0], atol=1e-5)
for policy, shape in (("not_larger", (1, 1, 3, 4)), ("not_smaller", (1, 1, 11, 16))):
    reference, runtime, intel = resized(policy)
    print(f"{policy} than 11x4: {runtime.shape[2:]} by ONNX Runtime, {intel.shape[2:]} by OpenVINO")
    assert reference.shape == runtime.shape == shape
    np.testing.assert_allclose(runtime, reference, atol=1e-5)
    np.testing.assert_array_equal(intel, stretched[2])
PY
