"""Prepare the data set of the default model.

    python scripts/prepare_default_model.py PHOTOS ANIMALS FOLDER

PHOTOS has the folders wide, train and extra; ANIMALS is the folder images of the repository
mateusrafael4/Atividade_programacao_pose_estimation. The data set is written to FOLDER/data. Its
validation split, default_model_validation.txt, has 600 photos of the sources `HELD_OUT`, 600 of
other sources of wide, and 400 of train and extra.
"""

import argparse
from pathlib import Path

from photochrom.batch.folders import find_photos
from photochrom.training.data.prepare import prepare

HELD_OUT = (
    *("flickr-abi", "film-gustavo", "portfolio-liscf4"),
    *("unsplash-emil", "elementary", "popos"),
)
"""Sources of `wide` without photos in the training split."""
VALIDATION = Path(__file__).with_name("default_model_validation.txt")


def select_photos(sources: dict[str, Path], validation: set[str]) -> dict[str, Path]:
    """Return the photos by name, without those of held-out sources that are not in `validation`."""
    photos = {
        f"{folder}/{name}": path
        for folder, root in sources.items()
        for name, path in find_photos([root]).items()
    }
    return {
        name: path
        for name, path in photos.items()
        if name in validation or not name.startswith(tuple(f"wide/{s}-" for s in HELD_OUT))
    }


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("photos", "animals", "folder"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    validation = set(VALIDATION.read_text().split())
    sources = {name: arguments.photos / name for name in ("wide", "train", "extra")}
    sources["animals"] = arguments.animals
    info = prepare(
        select_photos(sources, validation),
        arguments.folder / "data",
        size=256,
        keep_aspect=True,
        small="keep",
        min_chroma=4.0,
        splits=dict.fromkeys(validation, "validation"),
    )
    print(info)  # noqa: T201


if __name__ == "__main__":
    main()
