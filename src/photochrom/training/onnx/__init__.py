"""ONNX files: export, and back to weights."""
