"""Runs of one recipe with several seeds, and their tables."""

import json
from pathlib import Path

import pytest

from photochrom.errors import RunError
from photochrom.training.evaluation.results import Evaluation
from photochrom.training.evaluation.systems import group_runs, mean_over_seeds
from photochrom.training.evaluation.tables import evaluation_table, latex, table1
from support.runs import write_evaluated_run


def test_runs_that_differ_in_the_seed_only_are_a_system(tmp_path: Path) -> None:
    one = write_evaluated_run(tmp_path / "0000-unet-l1", changes={"seed": 0})
    wider = write_evaluated_run(
        tmp_path / "0001-unet-l1", changes={"seed": 1, "schedule.epochs": 3}
    )
    two = write_evaluated_run(tmp_path / "0002-unet-l1", changes={"seed": 1})
    again = write_evaluated_run(tmp_path / "0003-unet-l1", changes={"seed": 1})
    elsewhere = write_evaluated_run(tmp_path / "0004-unet-l1", changes={"seed": 2})
    (elsewhere / "environment.json").write_text('{"data": "/data/coco"}')
    assert group_runs([one, wider, two, again, elsewhere]) == {
        "unet-l1": [one, two],
        "0001-unet-l1": [wider],
        "0003-unet-l1": [again],
        "0004-unet-l1": [elsewhere],
    }
    with pytest.raises(RunError, match="is not a run"):
        group_runs([tmp_path])


def test_the_data_of_a_system_are_those_of_one_fingerprint(tmp_path: Path) -> None:
    """Folders of one name may have different photos, and a folder may be renamed."""
    runs = []
    for i, (path, fingerprint) in enumerate([("a/x", "aaa"), ("b/x", "bbb"), ("c/renamed", "aaa")]):
        run = write_evaluated_run(tmp_path / f"{i:04d}-unet-l1", changes={"seed": i})
        environment = {"data": path, "data_fingerprint": fingerprint}
        (run / "environment.json").write_text(json.dumps(environment))
        runs.append(run)
    assert group_runs(runs) == {"unet-l1": [runs[0], runs[2]], "0001-unet-l1": [runs[1]]}


def test_runs_of_other_epochs_or_precision_are_other_systems(tmp_path: Path) -> None:
    runs = []
    for seed in (0, 1):
        run = write_evaluated_run(tmp_path / f"000{seed}-unet-l1", changes={"seed": seed})
        facts = {"data_fingerprint": "aaa", "precision": ("32", "bf16")[seed]}
        (run / "environment.json").write_text(json.dumps(facts))
        runs.append(run)
        for epoch in ("001", "002"):
            kept = write_evaluated_run(run / "epochs" / epoch, changes={"seed": seed})
            (kept / "environment.json").unlink(missing_ok=True)
            runs.append(kept)
    assert len(group_runs(runs)) == 6
    (tmp_path / "0001-unet-l1/environment.json").write_text(
        (tmp_path / "0000-unet-l1/environment.json").read_text()
    )
    names = ("unet-l1", "unet-l1/epochs/001", "unet-l1/epochs/002")
    assert group_runs(runs) == dict(
        zip(names, ([runs[i], runs[i + 3]] for i in range(3)), strict=True)
    )
    assert list(group_runs(runs[1:2])) == ["0000-unet-l1/epochs/001"]


def test_a_system_measured_on_different_photos_is_refused(tmp_path: Path) -> None:
    runs = [
        write_evaluated_run(tmp_path / str(i), changes={"seed": i}, fingerprint=fingerprint)
        for i, fingerprint in enumerate(["aaa", "bbb"])
    ]
    with pytest.raises(RunError, match=r"0 was evaluated on flickr and .*1 on other photos"):
        table1(runs)


def test_mean_and_standard_deviation_over_seeds() -> None:
    evaluations = [Evaluation(f"run{i}", 5, {"mse": (x, 0, 1)}) for i, x in enumerate((1, 2, 6))]
    mean = mean_over_seeds("ours", evaluations)
    assert mean.values == {"mse": (3, None, None)}
    assert mean.deviations["mse"] == pytest.approx(7**0.5)
    assert (mean.name, mean.n, mean.seeds) == ("ours", 5, 3)
    assert Evaluation.from_json(json.loads(json.dumps(mean.to_json()))) == mean
    assert " 3.0000 ± 2.6458 |" in evaluation_table([mean])
    assert r"3.0000 $\pm$ 2.6458 \\" in evaluation_table([mean], "latex")
    assert mean_over_seeds("ours", evaluations[:1]).values == evaluations[0].values
    with pytest.raises(RunError, match="run0 was evaluated on 5 photos and other on 6"):
        mean_over_seeds("ours", [evaluations[0], Evaluation("other", 6, {})])


def test_table_1_has_a_row_for_each_system_with_its_number_of_seeds(tmp_path: Path) -> None:
    runs = [
        write_evaluated_run(
            tmp_path / f"000{i}-custom-seed{i}", "custom", mse=0.01 + i / 1000, changes={"seed": i}
        )
        for i in range(3)
    ]
    row = table1(runs).splitlines()[2]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:4] == ["custom", "custom", "3", "5 of flickr"]
    assert cells[5] == "0.0110 ± 0.0010"


def test_latex_is_escaped() -> None:
    table = latex(["Model", "ΔMSE ↓"], [["50% of a_b & c", "-0.5 [-1.0, 2.0]*"], ["[d-1]", "-"]])
    assert table.splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"Model & $\Delta$MSE $\downarrow$ \\",
        r"\midrule",
        r"50\% of a\_b \& c & $-0.5$ [$-1.0$, 2.0]$^{*}$ \\",
        r"{}[d-1] & - \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]
