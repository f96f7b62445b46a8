"""Train the default model: all its stages, or go on where they stopped.

    python scripts/train_default_model.py FOLDER [--threads 2] [--set KEY=VALUE]

FOLDER holds `data/all` and `data/large`, prepared by `photochrom data folder` with the names of
default_model_validation.txt as eval split (docs/model-log.md has the commands), and gets one run
for each stage in `runs`. A stage starts from the weights of the one before, with a fresh optimizer.
The same command resumes; kill it at any time.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

STAGES = (
    ("photochrom-stage-1", "all"),
    ("photochrom-stage-2", "all"),
    ("photochrom-stage-3", "large"),
    ("photochrom-stage-4", "large"),
    ("photochrom-stage-5", "large"),
)
"""Recipe of each stage, and the data set that it is trained on."""


def train_stages(folder: Path, settings: Mapping[str, str], *, progress: bool = True) -> list[Path]:
    """Train the stages in their order; those that are finished are left as they are.

    Args:
        folder: With the data sets.
        settings: Changes of all recipes, as of `photochrom train --set`.
        progress: Show bars on the terminal.

    Returns:
        The runs.
    """
    from photochrom.darkroom.recipe import with_settings
    from photochrom.darkroom.recipes import recipe_named
    from photochrom.darkroom.runs import read_log, read_recipe
    from photochrom.darkroom.train import train

    runs: list[Path] = []
    for number, (name, data) in enumerate(STAGES):
        run = folder / "runs" / f"{number:04d}-{name}"
        start = str(runs[-1]) if runs else "none"
        recipe = with_settings(replace(recipe_named(name), generator_weights=start), settings)
        if run.exists():
            recipe = read_recipe(run)
        if not run.exists() or len(read_log(run)) < recipe.total_epochs:
            resume = run if run.exists() else None
            photos = folder / "data" / data
            train(recipe, photos, run.parent, name=name, resume=resume, progress=progress)
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
