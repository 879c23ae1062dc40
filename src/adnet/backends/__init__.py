"""Other ways to run a trained network: prepared, compiled, exported to ONNX and OpenVINO."""
