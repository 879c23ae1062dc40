#!/usr/bin/env bash
# onnx 1.23.2: its reference evaluator is wrong about cubic Resize to a height or width of 1 by pytorch_half_pixel.
# Guess: the numbers of ONNX Runtime, since the evaluator is what runtimes are tested with.
# Seen: the specification puts a side of 1 at coordinate 0, so that any interpolation gives the first pixel: so do ONNX
# Runtime 1.32.0 for all modes, and the evaluator for nearest and linear; for cubic the evaluator mixes its neighbours in.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.3.4
venv/bin/python - <<'PY'
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("onnx", onnx.__version__, "ONNX Runtime", onnxruntime.__version__)
assert (onnx.__version__, onnxruntime.__version__) == ("1.23.2", "1.32.0")
x = np.random.default_rng(0).normal(size=(1, 1, 5, 7)).astype(np.float32)
FIRST = {(1, 1): x[..., :1, :1], (1, 7): x[..., :1, :], (5, 1): x[..., :1]}
for size, first in FIRST.items():
    for mode in ("nearest", "linear", "cubic"):
        node = helper.make_node(
            "Resize", ["x", "", "", "size"], ["y"], mode=mode, coordinate_transformation_mode="pytorch_half_pixel"
        )
        graph = helper.make_graph(
            [node],
            "resize",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, (1, 1, *size))],
            [numpy_helper.from_array(np.array([1, 1, *size]), "size")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        runtime = session.run(None, {"x": x})[0]
        reference = ReferenceEvaluator(model).run(None, {"x": x})[0]
        error = np.abs(reference - first).max()
        print(f"{mode} to {size}: ONNX Runtime gives the first pixels, the reference evaluator is off by {error:.3f}")
        np.testing.assert_allclose(runtime, first, atol=1e-6)
        assert (error > 0.05) == (mode == "cubic")
PY
