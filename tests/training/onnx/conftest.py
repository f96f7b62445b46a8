import hashlib
from collections.abc import Iterator

import onnx
import pytest
from torch import nn

from photochrom.training.onnx import export as export_module


@pytest.fixture(autouse=True, scope="module")
def convert_once() -> Iterator[None]:
    """Convert a generator to ONNX once, not in every test that exports it: it takes seconds."""
    convert = export_module._to_onnx
    converted: dict[str, bytes] = {}

    def convert_or_copy(module: nn.Module, inputs: list[str]) -> onnx.ModelProto:
        key = hashlib.sha256(f"{module} {module.output} {module.scale} {inputs}".encode())
        for tensor in module.state_dict().values():
            key.update(tensor.numpy().tobytes())
        if key.hexdigest() not in converted:
            converted[key.hexdigest()] = convert(module, inputs).SerializeToString()
        return onnx.ModelProto.FromString(converted[key.hexdigest()])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export_module, "_to_onnx", convert_or_copy)
        yield
