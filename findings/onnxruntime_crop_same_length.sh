#!/usr/bin/env bash
# ONNX Runtime 1.32.0: Resize that crops (tf_crop_and_resize) doesn't crop a side whose length stays the same.
# Guess: the crop, enlarged to the size, whatever the size: 8 numbers of which the right half is made 8 wide run from 4.5 to 8.
# Seen: so it is by ONNX's reference (1.23.2), and by ONNX Runtime made 7 or 9 wide; made 8 wide it is the whole row, 1 to 8. In a frame,
# each side is cropped or not for itself, and a crop enlarged to the frame's own size is the frame.
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
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

print("ONNX Runtime", onnxruntime.__version__, "onnx", onnx.__version__)
assert onnxruntime.__version__ == "1.32.0"


def cropped(frame, height, width):
    """Return the lower right quarter of a frame [height, width] at a size, by ONNX Runtime and by the reference."""
    node = helper.make_node("Resize", ["x", "roi", "", "sizes"], ["y"], mode="linear", coordinate_transformation_mode="tf_crop_and_resize")
    constants = [
        numpy_helper.from_array(np.array([0.5, 0.5, 1, 1], np.float32), "roi"),
        numpy_helper.from_array(np.array([height, width]), "sizes"),
    ]
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", frame.shape), ("y", None))]
    model = helper.make_model(
        helper.make_graph([node], "crop", shapes[:1], shapes[1:], constants), opset_imports=[helper.make_opsetid("", 22)], ir_version=10
    )
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": frame})[0], ReferenceEvaluator(model).run(None, {"x": frame})[0]


def line(length, kept):
    """Return the coordinates of a side's samples: those of its second half, or, where the crop is lost, of all of it."""
    return np.linspace(0 if kept == length else (length - 1) / 2, length - 1, kept)


frame = np.add.outer(100 * np.arange(6), np.arange(1, 9)).astype(np.float32)
for height, width in ((3, 7), (3, 8), (6, 9), (6, 8)):
    runtime, reference = cropped(frame, height, width)
    print(f"{height}x{width}: ONNX Runtime {runtime[0, 0]:.1f} to {runtime[-1, -1]:.1f}, reference {reference[0, 0]:.1f} to {reference[-1, -1]:.1f}")
    exact = np.add.outer(100 * np.linspace(2.5, 5, height), 1 + np.linspace(3.5, 7, width))
    np.testing.assert_allclose(reference, exact, rtol=1e-5)
    np.testing.assert_allclose(runtime, np.add.outer(100 * line(6, height), 1 + line(8, width)), rtol=1e-5)
assert (runtime == frame).all()
PY
