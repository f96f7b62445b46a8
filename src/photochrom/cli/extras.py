"""What a command needs besides the packages that are always there."""

import importlib.util

from photochrom.errors import PhotochromError

_EXTRAS = {
    "train": ("the train extra", ("torch", "lightning_fabric")),
    "ray": ("the ray extra", ("fsspec", "pyarrow", "ray", "s3fs")),
    "video": ("the video extra", ("av",)),
    "web": (
        "the web extra",
        ("fastapi", "jinja2", "krippendorff", "python_multipart", "scipy", "uvicorn"),
    ),
}
"""What an extra is called, and the modules without which nothing of it works."""


def need(extra: str) -> None:
    """Say in one sentence what to install where an extra is not.

    Raises:
        PhotochromError: If a module of it is missing.
    """
    called, needed = _EXTRAS[extra]
    missing = [name for name in needed if not importlib.util.find_spec(name)]
    if missing:
        raise PhotochromError(
            f"this command needs {' and '.join(missing)}, which come with {called}; "
            f"run `pip install 'photochrom[{extra}]'`"
        )
