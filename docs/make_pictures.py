"""Make docs/before-after.png with the model that ships: `python docs/make_pictures.py`.

The photos are scikit-image's own samples, all in the public domain or CC0: astronaut (NASA),
chelsea and coffee. Top: what goes in. Bottom: what comes out.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from skimage import data

from photochrom import Colorizer

HEIGHT = 300


def main() -> None:
    """Write the picture beside this file."""
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
    target = Path(__file__).with_name("before-after.png")
    Image.fromarray(np.concatenate(columns, axis=1)).save(target, optimize=True)


if __name__ == "__main__":
    main()
