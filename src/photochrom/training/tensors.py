"""Colour on tensors: sRGB to CIELAB and back, and the numbers a network sees.

The counterpart of `photochrom.color` on tensors; a test compares the two. Names as
everywhere in the project: `rgb` is sRGB in [0, 1], `lab` is CIELAB under D65 (L* in 0..100, a* and
b* in about -110..110), `L` and `ab` are the same two divided into the network's range [-1, 1].
"""

from functools import cache

import numpy as np
import torch
from kornia.color import lab_to_rgb as _kornia_lab_to_rgb
from kornia.color import rgb_to_lab as _kornia_rgb_to_lab
from torch import Tensor

from photochrom.color import AB_SCALE, L_SCALE, cie
from photochrom.color.pixels import to_linear
from photochrom.training.recipes.recipe import Output


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """Return CIELAB of sRGB images.

    Args:
        rgb: Shape (B, 3, H, W), in [0, 1].

    Returns:
        Shape (B, 3, H, W): L* in 0..100, a* and b* in CIELAB units.
    """
    lab: Tensor = _kornia_rgb_to_lab(rgb)
    return lab


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Return sRGB of CIELAB images, clipped to the gamut channel by channel.

    Clipping is differentiable and good enough for a discriminator or a preview; what a person gets
    goes through `photochrom.color.lab_to_rgb`, which keeps L* and hue.

    Args:
        lab: Shape (B, 3, H, W), L* in 0..100.

    Returns:
        Shape (B, 3, H, W), in [0, 1].
    """
    rgb: Tensor = _kornia_lab_to_rgb(lab, clip=True)
    return rgb


def normalize_lab(lab: Tensor) -> tuple[Tensor, Tensor]:
    """Split CIELAB into what the networks see: L = L*/50 - 1 and ab = (a*, b*)/110.

    Args:
        lab: Shape (B, 3, H, W), L* in 0..100.

    Returns:
        `L` of shape (B, 1, H, W) in [-1, 1] and `ab` of shape (B, 2, H, W), inside [-1, 1] for
        every sRGB colour.

    Reference:
        The scaling of pix2pix (Isola et al. 2017), as in Nazeri et al. 2018. Zhang et al. 2016
        scale L as (L* - 50)/100 instead.
    """
    return lab[:, :1] / L_SCALE - 1.0, lab[:, 1:] / AB_SCALE


def denormalize_lab(L: Tensor, ab: Tensor) -> Tensor:
    """Join `L` and `ab`, both in [-1, 1], into CIELAB: the inverse of `normalize_lab`.

    Args:
        L: Shape (B, 1, H, W).
        ab: Shape (B, 2, H, W).

    Returns:
        Shape (B, 3, H, W): L* in 0..100, a* and b* in CIELAB units.
    """
    return torch.cat([(L + 1.0) * L_SCALE, ab * AB_SCALE], dim=1)


def to_L_ab(rgb_uint8: Tensor) -> tuple[Tensor, Tensor]:  # noqa: N802 (L is the field's name)
    """Turn a batch of packed photographs into network input and target.

    Like `normalize_lab(rgb_to_lab(...))`, but ten times as fast on a CPU: the 256 levels of a byte
    are looked up, and a photo is done with while it is in the cache.

    Args:
        rgb_uint8: sRGB, shape (B, H, W, 3), dtype uint8: the layout of the packed data.

    Returns:
        `L` (B, 1, H, W) and `ab` (B, 2, H, W), float32, in [-1, 1].
    """
    count, height, width, _ = rgb_uint8.shape
    device = rgb_uint8.device
    levels, to_xyz, to_lab, offset = (x.to(device) for x in _conversion())
    made = torch.empty(count, 3, height * width, device=device)
    pixels = rgb_uint8.view(count, -1, 3).transpose(1, 2)
    at_once = 1 if device.type == "cpu" else count
    for first in range(0, count, at_once):
        some, lab = pixels[first : first + at_once], made[first : first + at_once]
        linear = levels.index_select(0, some.flatten().int()).view(some.shape)
        xyz = to_xyz @ linear
        curved = xyz.clamp(min=cie.EPSILON).log_().mul_(1 / 3).exp_()
        dark = xyz.mul(cie.KAPPA).add_(16 / 116)
        torch.add(to_lab @ torch.where(xyz > cie.EPSILON, curved, dark), offset, out=lab)
    made = made.view(count, 3, height, width)
    return made[:, :1], made[:, 1:]


@cache
def _conversion() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return what `to_L_ab` computes with.

    Linear light of the 256 levels; the matrix from it to XYZ over white; the one from CIELAB's f of
    that to L, a and b in a network's range, and what is added to them, (3, 1).
    """
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    scale = np.array([[L_SCALE], [AB_SCALE], [AB_SCALE]], np.float32)
    arrays = (
        to_linear(levels)[0],
        cie.RGB_TO_XYZ / cie.WHITE[:, None],
        np.array([[0, 116, 0], [500, -500, 0], [0, 200, -200]], np.float32) / scale,
        np.array([[-16], [0], [0]], np.float32) / scale - np.array([[1], [0], [0]], np.float32),
    )
    table, to_xyz, to_lab, offset = (torch.from_numpy(x) for x in arrays)
    return table, to_xyz, to_lab, offset


def target(L: Tensor, ab: Tensor, output: Output) -> Tensor:
    """Return what a generator should have made of a photo, in [-1, 1].

    Args:
        L: Shape (B, 1, H, W), in [-1, 1].
        ab: Shape (B, 2, H, W), in [-1, 1].
        output: What the generator makes.

    Returns:
        ab (B, 2, H, W), Lab (B, 3, H, W), or sRGB (B, 3, H, W) spread over [-1, 1].
    """
    if output == "rgb":
        return 2.0 * lab_to_rgb(denormalize_lab(L, ab)) - 1.0
    return ab if output == "ab" else torch.cat([L, ab], dim=1)


def whole_photo(made: Tensor, L: Tensor, output: Output) -> Tensor:
    """Return the photo (B, 3, H, W) that a discriminator judges: ab with L before it, else `made`.

    Args:
        made: What `target` returns, or a generator made.
        L: Shape (B, 1, H, W), in [-1, 1].
        output: What `made` is.
    """
    return torch.cat([L, made], dim=1) if output == "ab" else made


def to_rgb(photo: Tensor, output: Output) -> Tensor:
    """Return sRGB (B, 3, H, W), spread over [-1, 1], of what a discriminator judges.

    Args:
        photo: What `whole_photo` returns, shape (B, 3, H, W).
        output: What the generator makes.
    """
    if output == "rgb":
        return photo
    return 2.0 * lab_to_rgb(denormalize_lab(photo[:, :1], photo[:, 1:])) - 1.0


def to_ab(made: Tensor, output: Output) -> Tensor:
    """Return ab (B, 2, H, W) in [-1, 1] of what a generator made; it is not meant for gradients.

    Args:
        made: Shape (B, 2, H, W) or (B, 3, H, W); RGB may leave [-1, 1], and is clipped.
        output: What `made` is.
    """
    if output == "rgb":
        return rgb_to_lab((made.clamp(-1.0, 1.0) + 1.0) / 2.0)[:, 1:] / AB_SCALE
    return made[:, -2:]


def L_to_grey(L: Tensor) -> Tensor:
    """Return the sRGB value, in [0, 1], of the neutral grey that has the lightness `L` in [-1, 1].

    Reference:
        CIE 1976: Y = ((L* + 16)/116)^3, or L*/903.3 below L* = 8; then the sRGB curve.
    """
    lightness = (L + 1.0) * L_SCALE
    Y = torch.where(lightness > 8.0, ((lightness + 16.0) / 116.0) ** 3, lightness / 903.3)
    return torch.where(Y > 0.0031308, 1.055 * Y.clamp(min=1e-8) ** (1 / 2.4) - 0.055, 12.92 * Y)
