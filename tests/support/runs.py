"""Run directories without weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from photochrom.training.evaluation.results import Evaluation
from photochrom.training.recipes.named import RECIPES


def write_evaluated_run(
    path: Path, recipe: str = "unet-l1", mse: float = 0.01, **changes: Any
) -> Path:
    """Write a run directory that was evaluated on 5 photos; `changes` are to the recipe."""
    path.mkdir(parents=True)
    changed = replace(RECIPES[recipe], quoted=(), **changes)
    (path / "recipe.json").write_text(changed.to_json())
    evaluation = Evaluation(path.name, 5, {"mse": (mse, mse - 0.001, mse + 0.001)})
    content = {"data": "flickr", "evaluations": [evaluation.to_json()]}
    (path / "metrics.json").write_text(json.dumps(content))
    return path
