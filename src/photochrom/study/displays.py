"""How images were shown: for how long, and how large."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from photochrom.study.answers import Response
from photochrom.study.design import Protocol, Study
from photochrom.study.rates import participants_of, quantiles
from photochrom.study.results import Exposure, ParticipantDisplay, Scaling, ScalingName

SCALE_TOLERANCE = 0.01
"""Relative tolerance of an image shown at its own pixels."""


def measure_exposures(
    study: Study, by_protocol: Mapping[Protocol, Sequence[Response]]
) -> Iterable[Exposure]:
    """Yield how far exposures were from what was asked for, by protocol and image."""
    asked = 1000 * study.seconds
    pairs, timed = by_protocol.get("pair", ()), by_protocol.get("timed", ())
    times: tuple[tuple[Protocol, int, list[tuple[float | None, float | None]]], ...] = (
        ("pair", 1, [(r.exposure_ms, asked) for r in pairs]),
        ("pair", 2, [(r.second_exposure_ms, asked) for r in pairs]),
        ("timed", 1, [(r.exposure_ms, r.asked_ms) for r in timed]),
    )
    for protocol, image, exposures in times:
        errors = [a - b for a, b in exposures if a is not None and b is not None]
        if exposures:
            yield Exposure(
                protocol,
                image,
                len(errors),
                len(exposures) - len(errors),
                quantiles(errors, 0.025, 0.975) if errors else None,
                max(errors, key=abs, default=None),
            )


def _scales(study: Study, responses: Iterable[Response]) -> Iterable[tuple[Response, float]]:
    """Yield responses with the number of screen pixels per pixel of the image."""
    widths = {item.id: item.width for item in study.items}
    for response in responses:
        if response.image_width is not None and response.pixel_ratio is not None:
            scale = response.image_width * response.pixel_ratio / widths[response.item]
            if np.isfinite(scale):  # older versions stored any number
                yield response, scale


def describe_displays(study: Study, responses: Iterable[Response]) -> Iterable[ParticipantDisplay]:
    """Yield the windows and pixels of each participant."""
    scales = list(_scales(study, responses))
    for participant in participants_of(response for response, _ in scales):
        own = [(response, scale) for response, scale in scales if response.person == participant]
        viewports = [(r.viewport_width or 0, r.viewport_height or 0) for r, _ in own]
        yield ParticipantDisplay(
            participant,
            len(own),
            tuple(dict.fromkeys(viewports)),
            tuple(dict.fromkeys(r.pixel_ratio or 0 for r, _ in own)),
            (min(scale for _, scale in own), max(scale for _, scale in own)),
        )


def count_scalings(study: Study, responses: Iterable[Response]) -> Iterable[Scaling]:
    """Yield how many responses were to reduced, unscaled and enlarged images."""
    scales = list(_scales(study, responses))
    low, high = 1 - SCALE_TOLERANCE, 1 + SCALE_TOLERANCE
    ranges: dict[ScalingName, tuple[float, float]] = {
        "reduced": (0, low),
        "unscaled": (low, high),
        "enlarged": (high, np.inf),
    }
    for scaling, (low, high) in ranges.items():
        own = [response for response, scale in scales if low <= scale < high]
        yield Scaling(scaling, len(own), len(participants_of(own)))
