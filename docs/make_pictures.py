"""Write docs/before-after.png, docs/failures.jpg, docs/hints.png and the web page's samples.

Run it as `python docs/make_pictures.py`.

The photos are scikit-image's samples, all in the public domain, CC0 or without known restrictions:
astronaut (NASA), chelsea, coffee, colorwheel, immunohistochemistry, retina and rocket (SpaceX).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage import data

from photochrom import Colorizer, Hint

HEIGHT = 300
DOCS = Path(__file__).parent
HINTS = (
    Hint(120, 330, "#e06a10"),
    Hint(300, 330, "#e06a10"),
    Hint(26, 235, "neutral"),
    Hint(55, 190, "firebrick"),
)
"""In the photo of the astronaut: an orange suit, and white and red stripes of the flag."""
SAMPLES = DOCS.parent / "src" / "photochrom" / "web" / "static" / "samples"


def main() -> None:
    """Write all images."""
    write_before_after()
    write_failures()
    write_hints()
    write_samples()


def write_before_after() -> None:
    """Write docs/before-after.png: grey photos above, the default model's output below."""
    pictures = colorize_below([data.astronaut(), data.chelsea(), data.coffee()], "L")
    pictures.save(DOCS / "before-after.png", optimize=True)


def write_failures() -> None:
    """Write docs/failures.jpg: photos above, what the default model makes of them below."""
    photos = [data.astronaut(), data.coffee(), data.retina()]
    photos += [data.immunohistochemistry(), data.colorwheel()]
    colorize_below(photos, "RGB").save(DOCS / "failures.jpg", quality=90)


def colorize_below(photos: Sequence[NDArray[np.uint8]], mode: str) -> Image.Image:
    """Return photos side by side, in a mode of Pillow, with their colorized versions below."""
    colorizer = Colorizer()
    columns = []
    for photo in photos:
        shown = Image.fromarray(photo).convert(mode)
        shown = shown.resize((round(shown.width * HEIGHT / shown.height), HEIGHT))
        pair = [shown, colorizer(shown.convert("L"))]
        columns.append(np.concatenate([np.asarray(picture.convert("RGB")) for picture in pair]))
    return Image.fromarray(np.concatenate(columns, axis=1))


def write_hints() -> None:
    """Write docs/hints.png: a grey photo, the default model's output, and that with hints."""
    grey = Image.fromarray(data.astronaut()).convert("L")
    colorizer = Colorizer()
    with_hints = colorizer(grey, hints=HINTS).convert("RGB")
    draw = ImageDraw.Draw(with_hints)
    for hint in HINTS:
        fill = hint.rgb or (128, 128, 128)
        draw.circle((hint.x, hint.y), 9, fill=fill, outline=(255, 255, 255), width=3)
    pictures = [grey.convert("RGB"), colorizer(grey).convert("RGB"), with_hints]
    shown = [picture.resize((400, 400), Image.Resampling.LANCZOS) for picture in pictures]
    Image.fromarray(np.concatenate(shown, axis=1)).save(DOCS / "hints.png", optimize=True)


def write_samples() -> None:
    """Write the grey sample photos of the web page."""
    SAMPLES.mkdir(parents=True, exist_ok=True)
    for photo in (data.astronaut, data.chelsea, data.rocket):
        grey = Image.fromarray(photo()).convert("L")
        grey.save(SAMPLES / f"{photo.__name__}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
