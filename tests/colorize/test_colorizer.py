import pickle
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import Base as Tag

from photochrom import __version__, color
from photochrom.color import FloatArray
from photochrom.colorize import rendering, upsampling
from photochrom.colorize.colorizer import Colorizer, network_size
from photochrom.colorize.hints import Hint, place_hints
from photochrom.errors import ModelError, PhotochromError
from photochrom.imagefile.decoding import photo_from_image
from photochrom.imagefile.geometry import Geometry
from photochrom.imagefile.photo import Photo
from photochrom.imagefile.reading import open_photo
from photochrom.imagefile.writing import save_photo
from support.icc_profiles import SPACES
from support.photos import draw


class Model:
    """A model of constant colours that records its inputs."""

    name = "function"

    def __init__(self, a: float = 20.0, b: float = -15.0, size: int = 32) -> None:
        self.a, self.b, self.size = a, b, size
        self.inputs: list[FloatArray] = []

    def __call__(self, L: FloatArray, /) -> FloatArray:
        self.inputs.append(L)
        a, b = np.full_like(L, self.a), np.full_like(L, self.b)
        return np.concatenate([a, b], axis=1)


def lightness(image: Image.Image) -> NDArray[np.float32]:
    return color.rgb_to_lab(np.asarray(image.convert("RGB")) / np.float32(255))[..., 0]


@pytest.mark.parametrize("threads", [0, -1])
def test_threads_below_one_are_refused(tiny_onnx: Path, threads: int):
    with pytest.raises(PhotochromError, match=f"threads is {threads}; it has to be at least 1"):
        Colorizer(tiny_onnx, threads=threads)


@pytest.mark.parametrize("size", [(64, 48), (1, 1), (5, 3), (1, 200), (200, 1), (333, 97)])
@pytest.mark.parametrize("strength", [0, 25, 120])
def test_size_and_lightness_are_kept(size: tuple[int, int], strength: float):
    image = Image.fromarray(draw(size[1], size[0])).convert("L")
    result = Colorizer(Model(strength, -strength))(image)
    assert (result.size, result.mode) == (image.size, "RGB")
    assert np.abs(lightness(result) - lightness(image)).max() < 1


def test_every_lightness_is_kept():
    grey = Image.fromarray(np.tile(np.arange(256, dtype=np.uint8), (64, 1)))
    for a, b in [(90, 70), (-80, 80), (20, -100), (-50, -40), (5, 3)]:
        result = Colorizer(Model(a, b))(grey)
        assert np.abs(lightness(result) - lightness(grey)).max() < 1


def test_colors_come_from_the_model():
    result = Colorizer(Model(12, -9))(Image.new("L", (100, 80), 128))
    lab = color.rgb_to_lab(np.asarray(result) / np.float32(255))
    assert lab[..., 1:].reshape(-1, 2).mean(axis=0) == pytest.approx([12, -9], abs=0.5)


def test_model_from_an_onnx_file(tiny_onnx: Path, picture: Image.Image):
    by_path, by_text = Colorizer(tiny_onnx)(picture), Colorizer(str(tiny_onnx))(picture)
    np.testing.assert_array_equal(by_path, by_text)
    lab = color.rgb_to_lab(np.asarray(by_path) / np.float32(255))
    assert np.abs(lab[..., 1] - (0.2 * lab[..., 0] + 5)).mean() < 1


def test_colors_of_a_color_photo_are_ignored(picture: Image.Image):
    # A grey photo of the same L*, to a rounding.
    lab = np.zeros((48, 64, 3), np.float32)
    lab[..., 0] = lightness(picture)
    grey = Image.fromarray((color.lab_to_rgb(lab) * 255 + 0.5).astype(np.uint8))
    first, second = Colorizer(Model())(picture), Colorizer(Model())(grey)
    assert np.abs(np.asarray(first).astype(int) - np.asarray(second)).max() <= 2


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_kept(mode: str, picture: Image.Image):
    alpha = Image.linear_gradient("L").resize(picture.size)
    image = picture.convert(mode)
    image.putalpha(alpha)
    result = Colorizer(Model())(image)
    assert result.mode == "RGBA"
    np.testing.assert_array_equal(result.getchannel("A"), alpha)
    np.testing.assert_array_equal(
        result.convert("RGB"), Colorizer(Model())(image.convert(mode[:-1]))
    )


def test_16_bit_grey_reaches_the_model_in_full_precision():
    values = np.tile(np.linspace(20000, 20500, 64).astype(np.uint16), (32, 1))  # 2 levels of 8 bits
    model = Model(size=32)
    result = Colorizer(model)(photo_from_image(Image.fromarray(values)))
    assert result.pixels.dtype == np.uint16
    assert (np.diff(model.inputs[0][0, 0, 0]) > 0).all()
    expected = color.lightness(values[..., None])
    np.testing.assert_allclose(model.inputs[0][0, 0], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("size", "input_size"),
    [
        ((640, 480), (256, 192)),
        ((480, 640), (192, 256)),
        ((100, 100), (192, 192)),
        ((50, 60), (192, 230)),
        ((4000, 1000), (768, 192)),
        ((8000, 1000), (768, 96)),
        ((30000, 20), (768, 16)),
        ((20, 30000), (16, 768)),
        ((1, 1), (192, 192)),
    ],
)
def test_network_input_has_the_aspect_ratio_of_the_photo(
    size: tuple[int, int], input_size: tuple[int, int]
):
    model = Model(size=192)
    image = Image.linear_gradient("L").resize(size)
    assert Colorizer(model)(image).size == size
    (L,) = model.inputs
    assert L.shape == (1, 1, input_size[1], input_size[0])
    assert L.dtype == np.float32
    assert L.min() >= 0
    assert L.max() <= 100.001


def test_network_size_keeps_the_aspect_ratio():
    for height, width in [(300, 400), (1000, 333), (77, 300)]:
        h, w = network_size(height, width, 128)
        assert min(h, w) == 128
        assert h / w == pytest.approx(height / width, rel=0.01)


def test_strips_have_no_seams(monkeypatch: pytest.MonkeyPatch, tiny_onnx: Path):
    image = Image.fromarray(draw(301, 203))
    whole = Colorizer(tiny_onnx)(image)
    monkeypatch.setattr(rendering, "_STRIP_SIZE", 1000)
    off = np.abs(np.asarray(Colorizer(tiny_onnx)(image)).astype(int) - whole)
    assert off.max() <= 1  # rounding of sums
    assert off.mean() < 1e-3


def enlarge(image: FloatArray, size: tuple[int, int], rows: slice) -> FloatArray:
    """Return n rows of an image, shape (C, h, w), enlarged to (height, width): (C, n, W)."""
    planes = [cv2.resize(x, (size[1], len(x)), interpolation=cv2.INTER_LINEAR) for x in image]
    rows_out = rendering._interpolate_rows(np.stack(planes), size[0], rows)
    return rows_out.reshape(len(image), -1, size[1])


def test_interpolated_rows_equal_cv2_resize():
    image = np.random.default_rng(0).random((4, 12, 17), dtype=np.float32)
    whole = np.stack([cv2.resize(x, (90, 70), interpolation=cv2.INTER_LINEAR) for x in image])
    for top, rows in [(0, 70), (0, 7), (33, 12), (69, 1)]:
        part = enlarge(image, (70, 90), slice(top, top + rows))
        np.testing.assert_allclose(part, whole[:, top : top + rows], atol=1e-4)


def test_rows_are_not_interpolated_on_threads_of_blas(monkeypatch: pytest.MonkeyPatch):
    products = []
    matmul = np.matmul

    def multiply(a: FloatArray, b: FloatArray, out: FloatArray) -> FloatArray:
        products.append(a.size * b.shape[-1])
        return matmul(a, b, out=out)

    monkeypatch.setattr(np, "matmul", multiply)
    for height, width in ((240, 320), (600, 800), (1200, 1600), (3000, 4000)):
        rows = slice(60, 60 + rendering._STRIP_SIZE // width)
        rendering._interpolate_rows(np.zeros((4, 576, width), np.float32), height, rows)
    assert max(products) <= 65536 * 4  # OpenBLAS takes several threads for more


@pytest.mark.parametrize("edge", [512, 516, 519])  # between low-resolution pixels, and within one
@pytest.mark.parametrize("step", [15, 25, 40])
def test_bleeding_is_at_most_a_third_of_bilinear(edge: int, step: float):
    L = np.full((1024, 1024), 40, np.float32)
    L[:, edge:] += step
    L += np.random.default_rng(0).normal(0, 0.5, L.shape).astype(np.float32)
    ab = np.zeros((2, 1024, 1024), np.float32)
    ab[0, :, :edge], ab[1, :, edge:] = 40, -40
    middle = cv2.resize(L, (192, 192), interpolation=cv2.INTER_AREA)
    small = np.stack([cv2.resize(x, (64, 64), interpolation=cv2.INTER_AREA) for x in ab])
    bilinear = np.stack([cv2.resize(x, L.shape, interpolation=cv2.INTER_LINEAR) for x in small])
    lines = enlarge(upsampling.fit_lines(middle, small), L.shape, slice(0, 1024))
    guided = lines[:2] * L + lines[2:]
    assert np.abs(guided - ab).mean() < np.abs(bilinear - ab).mean() / 3


def test_grain_adds_no_color():
    random = np.random.default_rng(0)
    L = np.full((192, 192), 50, np.float32)
    L += random.normal(0, 2, L.shape).astype(np.float32)
    ab = np.full((2, 64, 64), 12, np.float32)
    lines = upsampling.fit_lines(L, ab)
    assert np.abs(lines[:2] * L + lines[2:] - 12).max() < 0.1


def test_upsampling_keeps_the_mean_of_each_low_resolution_pixel():
    random = np.random.default_rng(0)
    L = cv2.resize(random.uniform(20, 80, (24, 32)).astype(np.float32), (96, 72))
    ab = cv2.GaussianBlur(random.normal(0, 60, (24, 32, 2)).astype(np.float32), (0, 0), 2)
    planes = np.ascontiguousarray(ab.transpose(2, 0, 1))
    upsampled = upsampling._upsample(L, planes)
    means = [cv2.resize(plane, (32, 24), interpolation=cv2.INTER_AREA) for plane in upsampled]
    assert np.abs(np.stack(means) - planes).mean() < 0.1 * np.abs(planes).mean()


def test_flat_lightness_gives_bilinear_upsampling():
    small_ab = np.random.default_rng(0).normal(0, 20, (2, 24, 32)).astype(np.float32)
    lines = upsampling.fit_lines(np.full((24, 32), 50, np.float32), small_ab)
    np.testing.assert_allclose(lines[:2] * 50 + lines[2:], small_ab, atol=1e-3)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_model_output_that_is_not_finite_is_refused(wrong: float, picture: Image.Image):
    with pytest.raises(ModelError, match="model function returned NaN or infinity"):
        Colorizer(Model(a=wrong))(picture)


class Hinted(Model):
    """Returns the hints, and its own colours where there are none."""

    takes_hints = True

    def __call__(self, L: FloatArray, /, hints: FloatArray | None = None) -> FloatArray:
        ab = super().__call__(L)
        return ab if hints is None else np.where(hints[:, 2:] > 0, hints[:, :2], ab)


@pytest.mark.parametrize("size", [(100, 80), (9, 5)])  # the second is padded
def test_hints_reach_the_model(size: tuple[int, int]):
    photo = photo_from_image(Image.new("L", size, 128))
    colorizer = Colorizer(Hinted(a=0, b=0, size=min(size)))
    height, width = colorizer.network_input(photo).shape
    hints = np.zeros((3, height, width), np.float32)
    hints[:, :, : width // 2] = np.array([30, 10, 1], np.float32)[:, None, None]
    ab = colorizer.predict_ab(colorizer.network_input(photo), hints)
    pixels = colorizer.predict(photo, ab=ab).render(mark=False).pixels
    ab = color.rgb_to_lab(pixels / np.float32(255))[..., 1:]
    left, right = ab[:, : width // 2 - 1], ab[:, width // 2 + 1 :]
    assert left.reshape(-1, 2).mean(axis=0) == pytest.approx([30, 10], abs=1)
    assert right.reshape(-1, 2).mean(axis=0) == pytest.approx([0, 0], abs=1)


def test_hints_for_a_model_without_hints_are_refused(picture: Image.Image):
    colorizer, photo = Colorizer(Model()), photo_from_image(picture)
    hints = np.zeros((3, *colorizer.network_input(photo).shape), np.float32)
    with pytest.raises(ModelError, match="model function takes no colour hints; use a model that"):
        colorizer.predict_ab(colorizer.network_input(photo), hints)


def test_a_hint_is_at_its_place_after_the_geometry():
    photo = Image.new("L", (90, 60), 128)
    colorizer = Colorizer(Hinted(a=0, b=0, size=60))
    crop = (5, 10, 40, 60)
    result = colorizer(photo, hints=[Hint(60, 40, "#b06060")], turn=90, crop=crop)
    ab = color.rgb_to_lab(np.asarray(result) / np.float32(255))[..., 1:]
    x, y = 60 - 1 - 40 - 5, 60 - 10
    asked = color.rgb_to_lab(np.array([0xB0, 0x60, 0x60], np.float32) / np.float32(255))[1:]
    assert ab[y, x] == pytest.approx(asked, abs=1.5)
    for where in ((60, 59), (3, 40)):  # cropped away
        result = colorizer(photo, hints=[Hint(*where, "red")], turn=90, crop=(5, 10, 40, 60))
        assert result == colorizer(photo, turn=90, crop=(5, 10, 40, 60))


def test_a_hint_keeps_the_original_color():
    pixels = np.full((60, 90, 3), (120, 130, 150), np.uint8)
    photo = Photo(pixels)
    colorizer = Colorizer(Hinted(a=40, b=20, size=60))
    kept = colorizer(photo, hints=[Hint(30, 20, "original")]).pixels
    assert np.abs(kept[20, 30].astype(int) - (120, 130, 150)).max() <= 3
    grey = colorizer(photo, hints=[Hint(30, 20, "neutral")]).pixels[20, 30]
    assert np.ptp(grey) <= 3
    with pytest.raises(PhotochromError, match="original colour, but this photo is grey"):
        colorizer(Photo(pixels[..., :1].copy()), hints=[Hint(30, 20, "original")])


def test_wrong_hints_are_refused(picture: Image.Image):
    with pytest.raises(PhotochromError, match="lies outside the photo of 64x48"):
        Colorizer(Hinted())(picture, hints=[Hint(64, 3, "red")])
    with pytest.raises(PhotochromError, match=r"a hint is \(1, 3, 'red'\); it has to be a Hint"):
        Colorizer(Hinted())(picture, hints=[(1, 3, "red")])
    with pytest.raises(ModelError, match="takes no colour hints"):
        Colorizer(Model())(picture, hints=[Hint(1, 3, "red")])


def test_hints_on_a_prepared_photo_need_no_other_copy(picture: Image.Image):
    photo = photo_from_image(picture)
    colorizer = Colorizer(Hinted())
    prepared = pickle.loads(pickle.dumps(colorizer.prepare(photo)))
    hints = place_hints([Hint(20, 20, "red")], photo.size, Geometry())
    expected = colorizer.predict(photo, hints=hints)
    assert expected.hint_count == 1
    small = rendering.downscale(photo, 30)
    actual = colorizer.predict(small, hints=hints, prepared=prepared)
    np.testing.assert_array_equal(actual.coefficients, expected.coefficients)
    assert actual.render().size == small.size
    assert prepared.ab(actual.coefficients).shape == actual.coefficients[:2].shape


def test_model_output_of_a_wrong_shape_is_refused(picture: Image.Image):
    class Wrong(Model):
        def __call__(self, L: FloatArray, /) -> FloatArray:
            return L

    with pytest.raises(ModelError, match=r"shape \(1, 1, 32, 43\) where \(1, 2, 32, 43\)"):
        Colorizer(Wrong())(picture)


def test_missing_model_is_refused(tmp_path: Path):
    with pytest.raises(ModelError, match="there is no model file"):
        Colorizer(tmp_path / "none.onnx")


def test_import_is_light_and_has_all_exports():
    code = (
        "import sys, photochrom\n"
        "heavy = {'numpy', 'PIL', 'cv2', 'onnxruntime', 'torch', 'click'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "from photochrom import Colorizer, open_photo, save_photo, __version__\n"
        "assert __version__ and set(photochrom.__all__) <= set(dir(photochrom))\n"
        "assert 'torch' not in sys.modules and 'photochrom.training' not in sys.modules\n"
        "try: photochrom.nothing\n"
        "except AttributeError: print('good')\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert (answer.stdout, answer.stderr) == ("good\n", "")


def chroma(image: Image.Image) -> float:
    lab = color.rgb_to_lab(np.asarray(image.convert("RGB")) / np.float32(255))
    return float(np.hypot(lab[..., 1], lab[..., 2]).mean())


def test_saturation_is_a_factor(picture: Image.Image):
    grey = picture.convert("L").point(lambda value: 80 + value // 4)
    plain = chroma(Colorizer(Model(8, 6))(grey))
    assert plain == pytest.approx(10, abs=0.5)
    for saturation in (0, 0.5, 2):
        output = Colorizer(Model(8, 6))(grey, saturation=saturation)
        assert chroma(output) == pytest.approx(saturation * plain, abs=0.6)


def test_strength_blends_own_and_new_colors(picture: Image.Image):
    colorize = Colorizer(Model(8, 6))
    none, half, full = (
        np.asarray(colorize(picture, strength=strength)).astype(int) for strength in (0, 0.5, 1)
    )
    assert np.abs(none - np.asarray(picture)).max() <= 1
    np.testing.assert_array_equal(full, colorize(picture))
    ab = [color.rgb_to_lab(x / np.float32(255))[..., 1:] for x in (none, half, full)]
    assert np.abs(ab[1] - (ab[0] + ab[2]) / 2).mean() < 1.5


def test_strength_of_a_grey_photo_is_a_factor():
    grey = Image.new("L", (40, 40), 128)
    assert chroma(Colorizer(Model(8, 6))(grey, strength=0.3)) == pytest.approx(3, abs=0.6)


def test_size_is_the_short_side_of_the_network_input(picture: Image.Image):
    model = Model(size=32)
    Colorizer(model)(picture, size=48)
    assert model.inputs[0].shape == (1, 1, 48, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"saturation": -1}, "saturation is -1; it has to be from 0 to 4"),
        ({"saturation": float("nan")}, "saturation is nan"),
        ({"strength": 1.1}, "strength is 1.1; it has to be from 0 to 1"),
        ({"size": 15}, "size is 15; it has to be from 16 to 4096"),
    ],
)
def test_options_out_of_range_are_refused(
    options: dict[str, float], message: str, picture: Image.Image
):
    with pytest.raises(PhotochromError, match=message):
        Colorizer(Model())(picture, **options)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("channels", [1, 3])
def test_result_does_not_depend_on_threads(dtype: str, channels: int, tiny_onnx: Path):
    top = np.iinfo(dtype).max
    pixels = np.random.default_rng(0).integers(0, top, (400, 500, channels)).astype(dtype)
    photo = Photo(pixels, alpha=pixels[..., 0])
    one, four = (Colorizer(tiny_onnx, threads=threads)(photo) for threads in (1, 4))
    np.testing.assert_array_equal(one.pixels, four.pixels)
    assert (one.pixels.dtype, one.pixels.shape) == (np.dtype(dtype), (400, 500, 3))
    assert one.alpha is photo.alpha


def test_mark_names_version_and_model(picture: Image.Image):
    photo = photo_from_image(picture)
    mark = Colorizer(Model())(photo).metadata.mark
    assert mark is not None
    assert f"photochrom {__version__}" in mark
    assert "model function" in mark
    assert Colorizer(Model())(photo, mark=False).metadata == photo.metadata


def test_mark_counts_the_hints_that_have_an_effect(picture: Image.Image):
    photo, colorizer = photo_from_image(picture), Colorizer(Hinted())
    hints = [Hint(5, 5, "red"), Hint(6, 30, "original"), Hint(40, 30, "neutral")]
    for options, end in (
        ({}, "guesses, not the photograph's own; a person gave the colours at 3 places"),
        ({"crop": (0, 0, 20, 48)}, "; a person gave the colours at 2 places"),
        ({"crop": (0, 0, 20, 20)}, "; a person gave the colour at 1 place"),
        ({"crop": (10, 10, 20, 10)}, "guesses, not the photograph's own"),
    ):
        mark = colorizer(photo, hints=hints, **options).metadata.mark
        assert mark is not None
        assert mark.endswith(end)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_an_image_is_colorized_as_its_file_is(suffix: str, picture: Image.Image, tmp_path: Path):
    exif = Image.Exif()
    exif[Tag.Orientation], exif[Tag.Artist] = 6, "An artist"
    path = tmp_path / f"photo{suffix}"
    picture.save(path, exif=exif.tobytes(), icc_profile=SPACES["adobe"])
    colorizer = Colorizer(Model(8, -5))
    expected = colorizer(open_photo(path))
    with Image.open(path) as image:
        result = colorizer(image)
    assert result.size == picture.size[::-1]
    np.testing.assert_array_equal(result, expected.pixels)
    assert result.info["icc_profile"] == SPACES["adobe"]
    assert result.getexif()[Tag.Artist] == "An artist"
    assert result.getexif().get(Tag.Orientation, 1) == 1
    assert photo_from_image(result).metadata.mark == expected.metadata.mark is not None
    assert photo_from_image(colorizer(picture, mark=False)).metadata.mark is None
    save_photo(result, tmp_path / "saved.png")
    saved = open_photo(tmp_path / "saved.png")
    np.testing.assert_array_equal(saved.pixels, expected.pixels)
    assert saved.metadata.icc == SPACES["adobe"]


GEOMETRY = {"turn": 90, "straighten": -3.0, "crop": (5, 6, 20, 30)}


@pytest.mark.parametrize("strength", [0, 1])
def test_geometry_is_applied_before_colorizing(strength: float):
    photo = Photo(draw(60, 48))
    model = Model()
    result = Colorizer(model)(photo, strength=strength, **GEOMETRY)
    expected = Geometry(90, -3, (5, 6, 20, 30)).apply(photo)
    assert result.size == (20, 30)
    assert np.array_equal(result.pixels, Colorizer(Model())(expected, strength=strength).pixels)
    assert [L.shape[2:] for L in model.inputs] == [(48, 32)] * strength
    image = Colorizer(Model())(Image.fromarray(photo.pixels), strength=strength, **GEOMETRY)
    assert np.array_equal(np.asarray(image), result.pixels)


def test_a_crop_that_does_not_fit_is_refused():
    with pytest.raises(PhotochromError, match=r"the crop 0,0,65,48 .* out of the photo of 64x48"):
        Colorizer(Model())(Photo(draw()), crop=(0, 0, 65, 48))
