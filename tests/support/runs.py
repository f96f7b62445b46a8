"""Run directories without weights."""

import json
from pathlib import Path
from typing import Any

from photochrom.training.evaluation.results import Evaluation
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import override


def write_evaluated_run(
    path: Path,
    recipe: str = "unet-l1",
    mse: float = 0.01,
    changes: dict[str, Any] | None = None,
    fingerprint: str = "f1f1",
) -> Path:
    """Write a run directory that was evaluated on 5 photos; `changes` are to the recipe."""
    path.mkdir(parents=True)
    changed = override(named_recipe(recipe), {"quoted": (), **(changes or {})})
    (path / "recipe.json").write_text(changed.to_json())
    evaluation = Evaluation(path.name, 5, {"mse": (mse, mse - 0.001, mse + 0.001)})
    evaluations = [evaluation.to_json()]
    content = {"data": "flickr", "fingerprint": fingerprint, "evaluations": evaluations}
    (path / "metrics.json").write_text(json.dumps(content))
    return path
