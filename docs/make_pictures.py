"""Write docs/before-after.png and the web page's samples: `python docs/make_pictures.py`.

The photos are scikit-image's samples, all in the public domain or CC0: astronaut (NASA), chelsea,
coffee and rocket (SpaceX).
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from skimage import data

from photochrom import Colorizer

HEIGHT = 300
DOCS = Path(__file__).parent
SAMPLES = DOCS.parent / "src" / "photochrom" / "web" / "static" / "samples"


def main() -> None:
    """Write all images."""
    write_before_after()
    write_samples()


def write_before_after() -> None:
    """Write docs/before-after.png: grey photos above, the default model's output below."""
    colorizer = Colorizer()
    columns = []
    for photo in (data.astronaut(), data.chelsea(), data.coffee()):
        grey = Image.fromarray(photo).convert("L")
        grey = grey.resize((round(grey.width * HEIGHT / grey.height), HEIGHT))
        colored = colorizer(grey)
        columns.append(
            np.concatenate(
                [
                    np.asarray(ImageOps.grayscale(grey).convert("RGB")),
                    np.asarray(colored.convert("RGB")),
                ]
            )
        )
    Image.fromarray(np.concatenate(columns, axis=1)).save(DOCS / "before-after.png", optimize=True)


def write_samples() -> None:
    """Write the grey sample photos of the web page."""
    SAMPLES.mkdir(parents=True, exist_ok=True)
    for photo in (data.astronaut, data.chelsea, data.rocket):
        grey = Image.fromarray(photo()).convert("L")
        grey.save(SAMPLES / f"{photo.__name__}.jpg", quality=88, optimize=True)


if __name__ == "__main__":
    main()
