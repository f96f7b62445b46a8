"""What ONNX Runtime's settings do to the network: how fast it is, and how far int8 is off.

    python benchmarks/network.py PHOTOS          # a folder; 50 of its photos are taken

Prints the table of docs/performance.md. Needs the extra `train` (`onnx`, `scikit-image`).
"""

import photochrom  # noqa: F401, I001 (first: it keeps ONNX Runtime from telling Microsoft)

import argparse
import tempfile
import time
from collections.abc import Iterator
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
from photochrom.colorize.onnx_model import default_model_path
from photochrom.imagefile.reading import open_photo

CALIBRATED = 30


class Inputs(CalibrationDataReader):
    """Photos from which the ranges of int8 are learnt."""

    def __init__(self, inputs: list[FloatArray]) -> None:
        self.left: Iterator[FloatArray] = iter(inputs)

    def get_next(self) -> dict[str, FloatArray] | None:
        """Return the next photo's L*."""
        L = next(self.left, None)
        return None if L is None else {"L": L}


def session(path: Path, level: str = "ORT_ENABLE_ALL") -> onnxruntime.InferenceSession:
    """Load a network for one core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def milliseconds(network: onnxruntime.InferenceSession, L: FloatArray) -> float:
    """Return the time of one run, the shortest of ten."""
    runs = []
    for _ in range(10):
        start = time.perf_counter()
        network.run(["ab"], {"L": L})
        runs.append(time.perf_counter() - start)
    return min(runs) * 1000


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=Path)
    folder = sorted(parser.parse_args().photos.iterdir())
    photos = [open_photo(path) for path in folder[:: max(1, len(folder) // 50)][:50]]
    model = default_model_path()
    size = network_size(3000, 4000, 192)
    inputs = []
    for photo in photos:
        L = lightness(photo.pixels)
        ys, xs = (np.linspace(0, n - 1, m).astype(int) for n, m in zip(L.shape, size, strict=True))
        inputs.append(L[np.ix_(ys, xs)][None, None])
    plain = session(model)
    print("| what | ms a photo | CIEDE2000 to fp32 (mean, largest) |\n| --- | --- | --- |")
    for level in ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"):
        print(f"| {level} | {milliseconds(session(model, level), inputs[0]):.0f} | |")
    for count in (2, 4, 8):
        each = milliseconds(plain, np.concatenate(inputs[:count])) / count
        print(f"| {count} photos at once | {each:.0f} | |")
    with tempfile.TemporaryDirectory() as place:
        whole, small = Path(place, "whole.onnx"), Path(place, "int8.onnx")
        quant_pre_process(str(model), str(whole))
        for name, only in (("convolutions", ["Conv"]), ("everything", None)):
            quantize_static(
                str(whole),
                str(small),
                Inputs(inputs[:CALIBRATED]),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=only,
            )
            network = session(small)
            off = []
            for L in inputs[CALIBRATED:]:
                labs = [
                    np.concatenate([L, net.run(["ab"], {"L": L})[0]], 1)[0].transpose(1, 2, 0)
                    for net in (plain, network)
                ]
                off.append(deltaE_ciede2000(*labs).mean())
            print(
                f"| int8, {name} | {milliseconds(network, inputs[0]):.0f} | "
                f"{np.mean(off):.2f}, {np.max(off):.2f} |"
            )


if __name__ == "__main__":
    main()
