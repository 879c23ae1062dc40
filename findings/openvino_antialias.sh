#!/usr/bin/env bash
# OpenVINO 2026.4.1: an ONNX Resize with antialias=1 is read without a word, and computed without antialiasing.
# Guess: the numbers of ONNX Runtime, or an error that the attribute isn't supported.
# Seen: exactly what OpenVINO computes for antialias=0, for linear and cubic; ONNX Runtime 1.32.0 and ONNX's reference
# evaluator (1.23.2) agree with each other. Noise shrunk to a quarter keeps about three times the contrast it should.
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
frame = np.random.default_rng(0).normal(size=(1, 1, 32, 32)).astype(np.float32)


def resize(mode, antialias):
    node = helper.make_node("Resize", ["x", "", "", "size"], ["y"], mode=mode, antialias=antialias)
    graph = helper.make_graph(
        [node],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, frame.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, 8, 8))],
        [numpy_helper.from_array(np.array([1, 1, 8, 8]), "size")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    content = model.SerializeToString()
    reference = ReferenceEvaluator(model).run(None, {"x": frame})[0]
    runtime = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, {"x": frame})[0]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return reference, runtime, compiled({"x": frame})[0]


for mode in ("linear", "cubic"):
    plain = resize(mode, 0)
    smooth = resize(mode, 1)
    for results in (plain, smooth):
        np.testing.assert_allclose(results[0], results[1], atol=1e-5)
    np.testing.assert_allclose(plain[2], plain[1], atol=1e-5)
    print(f"{mode}, antialias=1: deviation {smooth[1].std():.2f} by ONNX Runtime, {smooth[2].std():.2f} by OpenVINO")
    np.testing.assert_array_equal(smooth[2], plain[2])
    assert smooth[2].std() > 2.5 * smooth[1].std()
PY
