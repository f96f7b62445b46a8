"""Speed of the network under settings of ONNX Runtime, and the error of int8.

    python benchmarks/network.py PHOTOS          # a folder, of which 50 photos are used

Prints the table of docs/performance.md. Needs the extra `train`.
"""

import photochrom  # noqa: F401, I001 (first: it disables ONNX Runtime's telemetry)

import argparse
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)
from skimage.color import deltaE_ciede2000

from photochrom.color import FloatArray, lightness
from photochrom.colorize.colorizer import network_size
from photochrom.colorize.onnx_model import OnnxModel, default_model_path
from photochrom.imagefile.reading import open_photo

CALIBRATION_COUNT = 30


class CalibrationInputs(CalibrationDataReader):
    """Photos that calibrate the ranges of int8."""

    def __init__(self, inputs: list[FloatArray]) -> None:
        self.remaining: Iterator[FloatArray] = iter(inputs)

    def get_next(self) -> dict[str, FloatArray] | None:
        """Return the inputs for the next photo."""
        L = next(self.remaining, None)
        return None if L is None else named_inputs(L)


@cache
def takes_hints() -> bool:
    """Return whether the default model has the second input, `hints`."""
    return OnnxModel(default_model_path()).takes_hints


def named_inputs(L: FloatArray) -> dict[str, FloatArray]:
    """Return the inputs of the default model for L*, shape (N, 1, H, W), without hints."""
    inputs = {"L": L}
    if takes_hints():
        inputs["hints"] = np.zeros((len(L), 3, *L.shape[2:]), np.float32)
    return inputs


def load_session(path: Path, level: str = "ORT_ENABLE_ALL") -> onnxruntime.InferenceSession:
    """Load a network for one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def measure_ms(network: onnxruntime.InferenceSession, L: FloatArray) -> float:
    """Return the shortest time of ten runs in milliseconds."""
    inputs = named_inputs(L)
    runs = []
    for _ in range(10):
        start = time.perf_counter()
        network.run(["ab"], inputs)
        runs.append(time.perf_counter() - start)
    return min(runs) * 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    paths = sorted(parser.parse_args().photos.iterdir())
    photos = [open_photo(path) for path in paths[:: max(1, len(paths) // 50)][:50]]
    model = default_model_path()
    size = network_size(3000, 4000, 192)
    inputs = []
    for photo in photos:
        L = lightness(photo.pixels)
        ys, xs = (np.linspace(0, n - 1, m).astype(int) for n, m in zip(L.shape, size, strict=True))
        inputs.append(L[np.ix_(ys, xs)][None, None])
    plain = load_session(model)
    print("| setting | ms per photo | CIEDE2000 to fp32 (mean, maximum) |\n| --- | --- | --- |")
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"):
        print(f"| {level} | {measure_ms(load_session(model, level), inputs[0]):.0f} | |")
    for count in (2, 4, 8):
        each = measure_ms(plain, np.concatenate(inputs[:count])) / count
        print(f"| batch of {count} | {each:.0f} | |")
    with tempfile.TemporaryDirectory() as folder:
        prepared, quantized = Path(folder, "prepared.onnx"), Path(folder, "int8.onnx")
        quant_pre_process(str(model), str(prepared))
        for name, operators in (("convolutions", ["Conv"]), ("all operators", None)):
            quantize_static(
                str(prepared),
                str(quantized),
                CalibrationInputs(inputs[:CALIBRATION_COUNT]),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=operators,
            )
            network = load_session(quantized)
            errors = []
            for L in inputs[CALIBRATION_COUNT:]:
                labs = [
                    np.concatenate([L, *net.run(["ab"], named_inputs(L))], 1)[0].transpose(1, 2, 0)
                    for net in (plain, network)
                ]
                errors.append(deltaE_ciede2000(*labs).mean())
            print(
                f"| int8, {name} | {measure_ms(network, inputs[0]):.0f} | "
                f"{np.mean(errors):.2f}, {np.max(errors):.2f} |"
            )


if __name__ == "__main__":
    main()
