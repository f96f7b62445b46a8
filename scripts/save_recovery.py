"""Save the weights of a run as a recovery point, half as large.

    python scripts/save_recovery.py RUN [recovery]

Writes recipe.json and generator.safetensors, for
`--set initialization.generator_weights=recovery`, and discriminator.safetensors if there is a
discriminator: a generator that goes on against a new one loses some of what it has learnt. Large
tensors are in float16, as in exported files.
"""

import shutil
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from photochrom.training.onnx.export import MIN_FLOAT16_SIZE


def halve(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return weights with large tensors in float16."""
    halved = {
        key: value.half()
        if value.is_floating_point() and value.numel() >= MIN_FLOAT16_SIZE
        else value
        for key, value in weights.items()
    }
    return {key: value.contiguous() for key, value in halved.items()}


def main() -> None:
    """Run the command line."""
    run = Path(sys.argv[1])
    recovery = Path(sys.argv[2] if len(sys.argv) > 2 else "recovery")
    recovery.mkdir(exist_ok=True)
    generator = load_file(run / "generator.safetensors")
    save_file(halve(generator), recovery / "generator.safetensors")
    state = torch.load(run / "state.pt", map_location="cpu", weights_only=True)
    if "discriminator" in state:
        save_file(halve(state["discriminator"]), recovery / "discriminator.safetensors")
    shutil.copy(run / "recipe.json", recovery)


if __name__ == "__main__":
    main()
