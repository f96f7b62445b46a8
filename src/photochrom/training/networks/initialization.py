"""Weight initialization."""

from torch import Tensor, nn

from photochrom.training.recipes.recipe import Scheme


def initialize(network: nn.Module, scheme: Scheme, skip: tuple[str, ...] = ()) -> None:
    """Initialize the weights of a network in place; see `Initialization.scheme` of a recipe.

    Args:
        network: The network.
        scheme: `default` keeps PyTorch's weights.
        skip: Names of direct children to skip.
    """
    if scheme == "default":
        return
    for name, module in network.named_modules():
        if name.split(".")[0] in skip:
            continue
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            _initialize_weight(module.weight, scheme, isinstance(module, nn.ConvTranspose2d))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d) and scheme == "normal":
            nn.init.normal_(module.weight, 1.0, 0.02)
            nn.init.zeros_(module.bias)


def _initialize_weight(weight: Tensor, scheme: Scheme, transposed: bool) -> None:
    if scheme == "normal":
        nn.init.normal_(weight, 0.0, 0.02)
        return
    # Shapes: (out, in, k, k), transposed (in, out, k, k). For transposed convolutions, TensorFlow
    # computes the fan-in from the output channels, He et al. from the input channels.
    fan_in = weight[0].numel()
    if scheme == "he":  # He et al. 2015, eq. (10)
        if transposed:
            fan_in = weight.numel() // weight.shape[1]
        nn.init.normal_(weight, 0.0, (2.0 / fan_in) ** 0.5)
    else:  # variance_scaling_initializer's defaults: variance 1/fan_in, truncated at 2 sigma
        std = fan_in**-0.5 / 0.87962566  # corrects for the truncation
        nn.init.trunc_normal_(weight, 0.0, std, -2 * std, 2 * std)
