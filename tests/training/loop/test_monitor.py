"""Warnings about an epoch."""

import pytest

from photochrom.training.loop.monitor import list_warnings


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [(0.19, "nearly grey: 19%"), (0.2, None), (1.5, None), (2.34, "oversaturated: 234%")],
)
def test_grey_and_oversaturated_output_have_a_warning(ratio: float, expected: str | None) -> None:
    warnings = list_warnings({"colorfulness_ratio": ratio})
    assert len(warnings) == (expected is not None)
    assert all(str(expected) in warning for warning in warnings)
