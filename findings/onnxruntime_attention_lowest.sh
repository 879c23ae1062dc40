#!/usr/bin/env bash
# ONNX Runtime 1.32.0: Attention takes a mask's lowest float for -infinity, so that a row which has nothing else becomes 0.
# Guess: any finite mask is only added. A row of equal numbers gives the mean of the values; one lowest float among -infinity, its value.
# Seen: so it is by ONNX's reference evaluator (1.23.2) and by OpenVINO 2026.4.1, and by ONNX Runtime down to -3e38; for the
# lowest float, -3.4028e38, which exporters write where attention isn't wanted, ONNX Runtime gives 0 in both cases.
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

print("ONNX Runtime", onnxruntime.__version__, "OpenVINO", openvino.__version__, "onnx", onnx.__version__)
assert onnxruntime.__version__ == "1.32.0"
rng = np.random.default_rng(0)
query, key, values = (rng.normal(size=(1, 1, number, 4)).astype(np.float32) for number in (2, 5, 5))


def attention(mask):
    """Return the second query's result by the reference, ONNX Runtime and OpenVINO."""
    given = {"query": query, "key": key, "values": values, "mask": mask}
    graph = helper.make_graph(
        [helper.make_node("Attention", list(given), ["result"])],
        "attention",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape) for name, array in given.items()],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, None)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)
    content = model.SerializeToString()
    reference = ReferenceEvaluator(model).run(None, given)[0]
    runtime = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"]).run(None, given)[0]
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [result[0, 0, 1] for result in (reference, runtime, compiled(given)[0])]


lowest = np.finfo(np.float32).min
mean = values[0, 0].mean(axis=0)
for number in (-1e9, -3e38, lowest):
    mask = np.zeros((2, 5), np.float32)
    mask[1] = number
    reference, runtime, intel = attention(mask)
    print(f"a row of {number:.7g}: {reference.round(2)} by the reference, {runtime.round(2)} by ONNX Runtime")
    np.testing.assert_allclose(reference, mean, atol=1e-5)
    np.testing.assert_allclose(intel, mean, atol=1e-5)
    np.testing.assert_allclose(runtime, np.zeros(4) if number == lowest else mean, atol=1e-5)

mask = np.full((2, 5), -np.inf, np.float32)
mask[:, 2] = lowest
reference, runtime, intel = attention(mask)
print(f"the lowest float among -inf: {reference.round(2)} by the reference, {runtime.round(2)} by ONNX Runtime")
np.testing.assert_allclose(reference, values[0, 0, 2], atol=1e-5)
np.testing.assert_allclose(intel, values[0, 0, 2], atol=1e-5)
np.testing.assert_array_equal(runtime, np.zeros(4))
PY
