"""Save the weights of a run as a recovery point, half as large.

    python scripts/save_recovery.py RUN [recovery]

Writes recipe.json and generator.safetensors, for
`--set initialization.generator_weights=recovery`. Large tensors are in float16, as in exported
files.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from photochrom.training.onnx.export import MIN_FLOAT16_SIZE


def main() -> None:
    """Run the command line."""
    run = Path(sys.argv[1])
    recovery = Path(sys.argv[2] if len(sys.argv) > 2 else "recovery")
    recovery.mkdir(exist_ok=True)
    weights = {
        key: value.to(torch.float16)
        if value.is_floating_point() and value.numel() >= MIN_FLOAT16_SIZE
        else value
        for key, value in load_file(run / "generator.safetensors").items()
    }
    save_file(weights, recovery / "generator.safetensors")
    shutil.copy(run / "recipe.json", recovery)


if __name__ == "__main__":
    main()
