#!/usr/bin/env bash
# onnx 1.23.2: its reference's MaxPool with SAME_LOWER leaves out the first window.
# Guess: as many windows as the length divided by the stride and rounded up, as the operator's text says and as for SAME_UPPER.
# Seen: 7 numbers at stride 2 are 4 by ONNX Runtime 1.32.0 and by the reference's own AveragePool; its MaxPool gives 3: for a kernel of 2
# the first is missing, for a kernel of 3 the windows are those without padding. A frame loses a row and a column, with no error.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.3.4
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "ONNX Runtime", onnxruntime.__version__)
assert onnx.__version__ == "1.23.2"
x = np.arange(1, 8, dtype=np.float32).reshape(1, 1, 7)


def run(operator, kernel, padding):
    node = helper.make_node(operator, ["x"], ["y"], kernel_shape=[kernel], strides=[2], auto_pad=padding)
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x.shape), ("y", None))]
    graph = helper.make_graph([node], "one_node", values[:1], values[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return [evaluate(None, {"x": x})[0].ravel().tolist() for evaluate in (ReferenceEvaluator(model).run, session.run)]


for kernel, lower in ((2, [1, 3, 5, 7]), (3, [2, 4, 6, 7])):
    reference, runtime = run("MaxPool", kernel, "SAME_LOWER")
    print(f"kernel {kernel}, SAME_LOWER: reference {reference}, ONNX Runtime {runtime}")
    assert runtime == lower and reference == [3, 5, 7]
    for operator, padding in (("MaxPool", "SAME_UPPER"), ("AveragePool", "SAME_LOWER"), ("AveragePool", "SAME_UPPER")):
        reference, runtime = run(operator, kernel, padding)
        assert reference == runtime and len(reference) == 4
PY
