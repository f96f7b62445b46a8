"""Write expected/engine.json, which the tests of the engine's modules compare it with.

Run it as `PYTHONPATH=tests python site/test/make_expected_engine.py`. Pixels are RGBA, in base64.
"""

import base64
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from photochrom import color
from photochrom.color import FloatArray, Pixels, icc
from photochrom.color.difference import difference_at_equal_lightness
from photochrom.color.icc import ProfileError
from photochrom.colorize import upsampling
from photochrom.colorize.colorizer import network_size, resize_lightness
from photochrom.colorize.rendering import Prediction
from photochrom.errors import PhotochromError
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.photo import Photo
from support import icc_profiles

FILE = Path(__file__).parent / "expected" / "engine.json"
rng = np.random.default_rng(27)


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _numbers(values: Any, digits: int = 5) -> list[float]:
    return [round(float(value), digits) for value in np.ravel(values)]


def _rgba(pixels: Pixels, alpha: Pixels | None = None) -> str:
    height, width, _ = pixels.shape
    image = np.full((height, width, 4), 255, np.uint8)
    image[..., :3] = pixels
    if alpha is not None:
        image[..., 3] = alpha
    return _encode(image.tobytes())


def _make_pixels(width: int, height: int, channels: int = 3) -> NDArray[np.uint8]:
    """Return an image with edges, flat parts, grain, and pure black and white."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / (3 + c)) * np.cos(y / (4 + c)) for c in range(channels)]
    image = 128 + 90 * np.stack(waves, axis=-1) + rng.normal(0, 12, (height, width, channels))
    image[: height // 4, : width // 4] = 0
    image[-height // 4 :, -width // 4 :] = 255
    image[: height // 4, -width // 4 :] = np.array([230, 20, 40])[:channels]
    result: NDArray[np.uint8] = np.clip(np.rint(image), 0, 255).astype(np.uint8)
    return result


def _planes(values: FloatArray) -> dict[str, Any]:
    count, height, width = values.shape
    return {"count": count, "width": width, "height": height, "data": _numbers(values)}


def _expect_colors() -> dict[str, Any]:
    colors = [(0, 0, 0), (255, 255, 255), (1, 1, 1), (255, 0, 0), (0, 0, 255), (10, 200, 30)]
    pixels = np.array([[*colors, (128, 128, 128), (20, 10, 5)]], np.uint8)
    spaces = {
        "srgb": (color.SRGB, icc.srgb_profile()),
        **{
            name: (icc.read_profile(icc_profiles.SPACES[name]), icc_profiles.SPACES[name])
            for name in ("adobe", "prophoto")
        },
    }
    lab = [(50.0, 20.0, -30.0), (0.0, 10.0, 10.0), (100.0, 0.0, 0.0), (80.0, 90.0, 90.0)]
    lab += [(30.0, -80.0, 60.0), (97.0, -15.0, 90.0), (50.0, 0.0, 0.0)]
    L, ab = np.array(lab, np.float32)[:, 0], np.array(lab, np.float32)[:, 1:].T
    pairs = rng.uniform(-80, 80, (12, 4)).astype(np.float32)
    pairs[0], pairs[1, :2] = 0, 0
    rgb = rng.uniform(0, 1, (6, 3)).astype(np.float32)
    result: dict[str, Any] = {
        "pixels": _rgba(pixels),
        "spaces": {},
        "lab": lab,
        "hex": [color.lab_to_hex(*each) for each in lab],
        "rgb": [_numbers(each) for each in rgb],
        "rgbToLab": [_numbers(each, 3) for each in color.rgb_to_lab(rgb)],
        "pairs": [_numbers(each, 3) for each in pairs],
        "differences": _numbers(
            difference_at_equal_lightness(pairs.round(3)[:, :2], pairs.round(3)[:, 2:]), 4
        ),
    }
    for name, (space, profile) in spaces.items():
        a, b = color.scaled_ab(pixels[0], space)
        result["spaces"][name] = {
            "profile": _encode(profile),
            "L": _numbers(color.lightness(pixels, space), 3),
            "ab": _numbers([a * 500, b * 200], 3),
            "limited": _numbers(color.limit_chroma(space, L, ab), 3),
        }
    return result


def _expect_resizing() -> dict[str, Any]:
    cases: dict[str, Any] = {"photos": [], "planes": []}
    for size, new in (
        ((14, 10), (5, 4)),
        ((12, 8), (6, 4)),
        ((12, 12), (4, 4)),
        ((18, 12), (3, 2)),
        ((7, 5), (13, 9)),
        ((8, 12), (5, 15)),
        ((6, 5), (6, 5)),
    ):
        pixels = np.concatenate([_make_pixels(*size), _make_pixels(*size, 1)], axis=2)
        plane = rng.uniform(-50, 50, size[::-1]).astype(np.float32).round(2)
        area, linear = cv2.INTER_AREA, cv2.INTER_LINEAR
        cases["photos"].append(
            {
                "width": size[0],
                "height": size[1],
                "size": new,
                "pixels": _encode(pixels.tobytes()),
                "area": _encode(cv2.resize(pixels, new, interpolation=area).tobytes()),
                "linear": _encode(cv2.resize(pixels, new, interpolation=linear).tobytes()),
            }
        )
        cases["planes"].append(
            {
                "planes": _planes(plane[None]),
                "size": new,
                "area": _numbers(cv2.resize(plane, new, interpolation=area), 3),
                "linear": _numbers(cv2.resize(plane, new, interpolation=linear), 3),
                "box": _numbers(cv2.blur(plane, (3, 3), borderType=cv2.BORDER_REFLECT), 3),
                "widerBox": _numbers(cv2.blur(plane, (5, 5), borderType=cv2.BORDER_REFLECT), 3),
            }
        )
    return cases


def _expect_geometry() -> list[dict[str, Any]]:
    cases = []
    size = 23, 17
    pixels, alpha = _make_pixels(*size), _make_pixels(*size, 1)[..., 0]
    for turn, straighten, crop, has_alpha in (
        (0, 0, None, False),
        (90, 0, None, False),
        (180, 0, None, True),
        (270, 0, (1, 2, 9, 8), False),
        (0, 0, (3, 4, 20, 13), True),
        (0, 7.5, None, False),
        (90, -3.25, None, True),
        (270, 12, (4, 6, 7, 9), False),
        (45, 0, None, False),
        (0, 45.5, None, False),
        (0, float("nan"), None, False),
        (0, 0, (0, 0, 0, 5), False),
        (0, 0, (-1, 0, 5, 5), False),
        (0, 0, (0, 0, 1.5, 5), False),
        (0, 0, (1, 2, 3), False),
        (0, 0, (4, 4, 20, 13), False),
        (90, 0, (0, 0, 23, 17), False),
        (0, 2.125, (0, 0, 23, 17), False),
    ):
        look = {"turn": turn, "straighten": straighten, "crop": crop}
        case: dict[str, Any] = {"look": look | {"straighten": str(straighten)}}
        try:
            geometry = Geometry(turn, straighten, crop)  # type: ignore[arg-type]
            result = geometry.apply(Photo(pixels, alpha if has_alpha else None))
        except PhotochromError as error:
            case["error"] = str(error)
        else:
            places = [(0, 0), (22, 16), (11, 8), (5, 12)]
            case |= {
                "rectangle": geometry.rectangle(*size),
                "places": [
                    [*at, place and _numbers(place, 4)]
                    for at in places
                    for place in [geometry.place(*at, *size)]
                ],
                "origins": [[*at, *geometry.origin(*at, *size)] for at in [(0, 0), (3.5, 2.2)]],
                "hasAlpha": has_alpha,
                "result": _rgba(result.pixels, result.alpha),
            }
        cases.append(case)
    return [{"width": 23, "height": 17, "pixels": _rgba(pixels, alpha)}, *cases]


def _expect_profiles() -> list[dict[str, Any]]:
    curve, gamma, grey = icc_profiles.curve, icc_profiles.gamma, icc_profiles.grey
    parametric, rgb = icc_profiles.parametric, icc_profiles.rgb
    srgb_columns = icc_profiles.SRGB_COLUMNS
    adobe = rgb(icc_profiles.ADOBE, gamma(2.2))
    profiles = {
        "photochrom's sRGB": icc.srgb_profile(),
        "sRGB by a formula": rgb(srgb_columns, icc_profiles.SRGB_CURVE),
        "Adobe RGB": adobe,
        "linear": rgb(srgb_columns, curve()),
        "a table": rgb(srgb_columns, curve(0, 1000, 20000, 65535)),
        "grey": grey(gamma(1.8)),
        "grey to Lab": grey(gamma(1.0))[:20] + b"Lab " + grey(gamma(1.0))[24:],
        "parametric 0": grey(parametric(0, 3.0)),
        "parametric 1": grey(parametric(1, 2.0, 2.0, -1.0)),
        "parametric 2": grey(parametric(2, 2.0, 0.5, 0.0, 0.5)),
        "parametric 3": grey(parametric(3, 2.0, 1.0, 0.0, 0.5, 0.5)),
        "parametric 4": grey(parametric(4, 2.0, 1.0, 0.0, 0.25, 0.5, 0.1, 0.05)),
        "an unknown parametric curve": grey(parametric(5, 2.0)),
        "an unknown curve": grey(b"abcd" + bytes(12)),
        "a falling curve": grey(curve(65535, 0)),
        "a flat curve": grey(curve(7, 7)),
        "a curve that is cut off": grey(curve(0, 65535)[:-2]),
        "an implausible matrix": rgb((srgb_columns[0],) * 3, gamma(2.2)),
        "no matrix": icc_profiles.profile(rTRC=gamma(2.2), gTRC=gamma(2.2), bTRC=gamma(2.2)),
        "cut off": adobe[:140],
        "empty": b"",
        "no profile": b"x" * 200,
        "CMYK": icc_profiles.profile(b"CMYK"),
        "tables": icc_profiles.table_profile(),
    }
    cases = []
    for name, profile in profiles.items():
        case: dict[str, Any] = {"name": name, "profile": _encode(profile)}
        try:
            space = icc.read_profile(profile)
        except ProfileError as error:
            case["error"] = str(error)
        else:
            case["isSrgb"] = space is color.SRGB
            case["matrix"] = space.matrix if space.matrix is None else _numbers(space.matrix, 4)
            case["curve"] = _numbers(space.curves[-1, :: 65535 // 15])
        cases.append(case)
    return cases


def _expect_upsampling() -> dict[str, Any]:
    L = resize_lightness(Photo(_make_pixels(24, 18)), 18, 24).round(2)
    ab = (rng.uniform(-1, 1, (2, 6, 8)) * 40).astype(np.float32).round(2)
    large_ab = (rng.uniform(-1, 1, (2, 18, 24)) * 40).astype(np.float32).round(2)
    return {
        "L": _planes(L[None]),
        "ab": _planes(ab),
        "lines": _numbers(upsampling.fit_lines(L, ab), 3),
        "largeAb": _planes(large_ab),
        "largeLines": _numbers(upsampling.fit_lines(L, large_ab), 3),
    }


def _expect_rendering() -> dict[str, Any]:
    coefficients = rng.uniform(-1, 1, (4, 5, 6)) * np.array([0.3, 0.3, 25, 25])[:, None, None]
    coefficients = coefficients.astype(np.float32).round(4)
    profiles = {
        "srgb": None,
        "adobe": icc_profiles.rgb(icc_profiles.ADOBE, icc_profiles.gamma(2.2)),
        "prophoto": icc_profiles.rgb(icc_profiles.PROPHOTO, icc_profiles.gamma(1.8)),
        "grey": icc_profiles.grey(icc_profiles.gamma(1.8)),
    }
    photos, cases = {}, []
    for name, profile in profiles.items():
        space = color.SRGB if profile is None else icc.read_profile(profile)
        photo = Photo(_make_pixels(21, 16, len(space.curves)), space=space)
        photos[name] = {
            "pixels": _rgba(photo.pixels),
            "isGrey": len(space.curves) == 1,
            "profile": profile and _encode(profile),
        }
        for look in (
            {"saturation": 1, "strength": 1},
            {"saturation": 4, "strength": 1},
            {"saturation": 0, "strength": 1},
            {"saturation": 1.3, "strength": 0.4},
            {"saturation": 1, "strength": 0},
            {"saturation": 1, "strength": 1, "region": (7, 3, 9, 8)},
        ):
            result = Prediction(photo, coefficients, "model").render(**look)
            cases.append({"photo": name, "options": look, "pixels": _rgba(result.pixels)})
    return {"coefficients": _planes(coefficients), "photos": photos, "cases": cases}


def _expect_sizes() -> list[list[int]]:
    sizes = [(640, 480), (480, 640), (5000, 300), (1, 5000), (3, 2), (193, 1000), (191, 192)]
    return [
        [*size, *network_size(size[1], size[0], short)[::-1], short]
        for size in sizes
        for short in (16, 192, 257)
    ]


def main() -> None:
    """Write the file."""
    expected = {
        "colors": _expect_colors(),
        "resizing": _expect_resizing(),
        "geometry": _expect_geometry(),
        "profiles": _expect_profiles(),
        "upsampling": _expect_upsampling(),
        "rendering": _expect_rendering(),
        "sizes": _expect_sizes(),
    }
    lines = [f'"{key}": {json.dumps(value)}' for key, value in expected.items()]
    FILE.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
