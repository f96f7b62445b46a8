"""Train all stages of the default model, or resume the training.

    python scripts/train_default_model.py FOLDER [--threads 2] [--set KEY=VALUE]

FOLDER/data is the data set of prepare_default_model.py. FOLDER/runs has one run per stage, which
starts from the weights of the previous stage with a new optimizer. The same command resumes after
an interruption at any time.
"""

import argparse
import os
from collections.abc import Mapping
from pathlib import Path

STAGES = tuple(f"photochrom-stage-{number}" for number in range(1, 6))
"""The recipe of each stage."""


def train_stages(folder: Path, settings: Mapping[str, str], *, progress: bool = True) -> list[Path]:
    """Train the stages in order, except those that are complete.

    Args:
        folder: Folder with the data set.
        settings: Values to override in all recipes, as in `photochrom train --set`.
        progress: Show progress bars on stderr.

    Returns:
        The runs.
    """
    from photochrom.training.loop.train import train
    from photochrom.training.recipes.loading import named_recipe
    from photochrom.training.recipes.recipe import override
    from photochrom.training.runs import read_recipe

    runs: list[Path] = []
    for number, name in enumerate(STAGES):
        run = folder / "runs" / f"{number:04d}-{name}"
        start = str(runs[-1]) if runs else "none"
        initial = {"initialization.generator_weights": start}
        recipe = override(named_recipe(name), {**initial, **settings})
        if run.exists():
            recipe = read_recipe(run)
        resume = run if run.exists() else None  # a finished run takes no more steps
        train(recipe, folder / "data", run.parent, name=name, resume=resume, progress=progress)
        runs.append(run)
    return runs


def main() -> None:
    """Run the command line."""
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
