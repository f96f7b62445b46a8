"""Losses on sRGB photos.

Photos are sRGB (B, 3, H, W) in [0, 1]; each loss is a mean over the batch.
"""

import torch
from torch import Tensor


def colorfulness_loss(fake: Tensor) -> Tensor:
    """Return 1 - (sigma_rgyb + 0.3 mu_rgyb) / 100, which is lower for more colourful photos.

    sigma_rgyb and mu_rgyb are the standard deviation and the mean of (R - G, (R + G)/2 - B) of a
    photo on the scale 0..255: `photochrom.training.evaluation.metrics.colorfulness`. 1 for grey,
    about 0 for "extremely colourful".

    Reference:
        Kang et al. 2023 (DDColor), equation (8); Hasler and Suesstrunk 2003. DDColor's code takes
        absolute differences, omits the division and sums over the batch.
    """
    red, green, blue = (fake.float() * 255.0).unbind(1)
    opponents = torch.stack([red - green, 0.5 * (red + green) - blue]).flatten(2)
    variances, means = torch.var_mean(opponents, dim=2, correction=0)
    # The root's derivative at 0, of grey photos, is infinite.
    deviation = (variances.sum(0) + 1e-6).sqrt()
    offset = (means.square().sum(0) + 1e-6).sqrt()
    return (1.0 - (deviation + 0.3 * offset) / 100.0).mean()


def focal_frequency_loss(fake: Tensor, real: Tensor, alpha: float = 1.0) -> Tensor:
    """Return the mean over photos, channels and frequencies of w |F_real - F_fake|^2.

    F is the orthonormal two-dimensional Fourier transform. The weight w is |F_real - F_fake|^alpha,
    divided by its maximum over the frequencies of a photo and channel; it has no gradients.

    Args:
        fake: Generated photos.
        real: Real photos.
        alpha: 0 weighs all frequencies equally, which is the mean squared error.

    Reference:
        Jiang et al. 2021, "Focal Frequency Loss for Image Reconstruction and Synthesis", section 3:
        w(u, v) and FFL; alpha = 1.
    """
    spectrum = torch.view_as_real(torch.fft.fft2(fake.float() - real.float(), norm="ortho"))
    squared = spectrum.square().sum(-1)
    with torch.no_grad():
        weights = squared ** (alpha / 2)
        weights /= weights.amax(dim=(2, 3), keepdim=True).clamp(min=1e-20)
    return (weights * squared).mean()
