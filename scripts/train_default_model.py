"""Train the default model: all its stages, or go on where they stopped.

    python scripts/train_default_model.py FOLDER [--threads 2] [--set KEY=VALUE]

FOLDER/data is what prepare_default_model.py made. FOLDER/runs gets one run for each stage, which
starts from the weights of the one before, with a fresh optimizer. The same command resumes; kill it
at any time.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

STAGES = tuple(f"photochrom-stage-{number}" for number in range(1, 6))
"""The recipe of each stage."""


def train_stages(folder: Path, settings: Mapping[str, str], *, progress: bool = True) -> list[Path]:
    """Train the stages in their order; those that are finished are left as they are.

    Args:
        folder: With the data set.
        settings: Changes of all recipes, as of `photochrom train --set`.
        progress: Show bars on the terminal.

    Returns:
        The runs.
    """
    from photochrom.training.loop.runs import read_log, read_recipe
    from photochrom.training.loop.train import train
    from photochrom.training.recipes.named import get_recipe
    from photochrom.training.recipes.recipe import apply_settings

    runs: list[Path] = []
    for number, name in enumerate(STAGES):
        run = folder / "runs" / f"{number:04d}-{name}"
        start = str(runs[-1]) if runs else "none"
        recipe = apply_settings(replace(get_recipe(name), generator_weights=start), settings)
        if run.exists():
            recipe = read_recipe(run)
        if not run.exists() or len(read_log(run)) < recipe.total_epochs:
            resume = run if run.exists() else None
            data = folder / "data"
            train(recipe, data, run.parent, name=name, resume=resume, progress=progress)
        runs.append(run)
    return runs


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)  # before torch is imported
    settings = dict(pair.split("=", 1) for pair in arguments.set)
    train_stages(arguments.folder.resolve(), settings)


if __name__ == "__main__":
    main()
