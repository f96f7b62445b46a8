"""Networks of other papers and libraries, by their sizes, layers and initial weights."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from photochrom.errors import RecipeError
from photochrom.training.loop.building import build
from photochrom.training.networks.color_classes import BINS, class_loss
from photochrom.training.networks.dynamic_unet import DynamicUNet, PixelShuffleUpsample
from photochrom.training.networks.encoders import build_encoder
from photochrom.training.networks.zhang2016 import Zhang2016
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import override

NETWORKS: list[Callable[[], nn.Module]] = [Zhang2016, DynamicUNet]


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def random_L(*size: int) -> Tensor:
    return torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def convolution(before: int, after: int, kernel: int = 3) -> int:
    return (before * kernel**2 + 1) * after


def test_parameters_of_zhang2016_are_those_of_the_paper() -> None:
    """With the fixed 313 x 2 decoder, the 32.236 million that OpenVINO's model card states."""
    blocks = [
        convolution(1, 64) + convolution(64, 64),
        convolution(64, 128) + convolution(128, 128),
        convolution(128, 256) + 2 * convolution(256, 256),
        convolution(256, 512) + 2 * convolution(512, 512),
        *3 * [3 * convolution(512, 512)],
        convolution(512, 256, kernel=4) + 2 * convolution(256, 256) + convolution(256, 313, 1),
    ]
    norms = 2 * (64 + 128 + 256 + 4 * 512)
    transposed = 512 * 256 * 16 + 256  # as of the convolution above: weights and one bias a channel
    assert transposed == convolution(512, 256, kernel=4)
    with torch.device("meta"):
        network = Zhang2016()
    assert parameters(network) == sum(blocks) + norms == 32_235_385
    assert round((32_235_385 + 2 * 313) / 1e6, 3) == 32.236


@pytest.mark.parametrize("size", [(16, 16), (17, 30), (40, 61)])
def test_zhang2016_has_a_quarter_of_the_size(size: tuple[int, int]) -> None:
    network = Zhang2016().eval()
    with torch.no_grad():
        logits = network(random_L(*size))
    assert logits.shape == (1, BINS, -(-size[0] // 4), -(-size[1] // 4))
    assert logits.isfinite().all()


def test_zhang2016_has_three_strides_one_upsampling_and_six_dilated_layers() -> None:
    with torch.device("meta"):
        layers = list(Zhang2016().layers)
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert len(convolutions) == 22
    assert [i for i, layer in enumerate(convolutions) if layer.stride == (2, 2)] == [1, 3, 6]
    assert [i for i, layer in enumerate(convolutions) if layer.dilation == (2, 2)] == [
        *range(10, 16)
    ]
    assert sum(isinstance(layer, nn.ConvTranspose2d) for layer in layers) == 1
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in layers) == 7


def test_zhang2016_learns_one_photo() -> None:
    torch.manual_seed(0)
    network = Zhang2016().train()
    L = random_L(32, 32)
    ab = torch.full((1, 2, 32, 32), 0.3)
    optimizer = torch.optim.Adam(network.parameters(), 1e-4)
    losses = []
    for _ in range(4):
        optimizer.zero_grad()
        loss = class_loss(network(L), ab)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.1
    assert all(p.grad is not None for p in network.parameters())


def test_the_discriminator_of_the_dynamic_unet_starts_from_normal_weights() -> None:
    """As `init_model(PatchDiscriminator(...))` of Shariatnia's tutorial."""
    settings = {"generator.encoder_weights": "none"}
    recipe = override(named_recipe("shariatnia-resnet18"), settings)
    discriminator = build(recipe, torch.device("cpu")).discriminator
    assert discriminator is not None
    weights = [
        layer.weight.detach() for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)
    ]
    assert [weight.std().item() for weight in weights] == pytest.approx([0.02] * 5, rel=0.1)


def test_parameters_of_the_dynamic_unet_are_fastais() -> None:
    """The count of fastai 2.7.19's network, whose outputs are equal (0.0) with copied weights."""
    with torch.device("meta"):
        assert parameters(DynamicUNet()) == 31_099_672


@pytest.mark.parametrize("size", [(16, 16), (33, 70)])
@pytest.mark.parametrize("channels", [2, 3])
def test_dynamic_unet_takes_any_size(size: tuple[int, int], channels: int) -> None:
    network = DynamicUNet(out_channels=channels).eval()
    with torch.no_grad():
        ab = network(random_L(*size))
    assert ab.shape == (1, channels, *size)
    assert ab.isfinite().all()


def test_last_cross_passes_the_lightness_to_the_last_layers() -> None:
    network = DynamicUNet().eval()
    nn.init.zeros_(network.residual[-1].weight)
    nn.init.zeros_(network.upsample[0].weight)
    nn.init.zeros_(network.head.weight)
    nn.init.zeros_(network.head.bias)
    with torch.no_grad():
        network.head.weight[0, -1] = 1  # the last of the joined channels is L
        L = random_L(32, 32)
        ab = network(L)
    assert torch.equal(ab[:, :1], L.relu())
    assert not ab[:, 1:].any()


def test_pixel_shuffle_starts_as_nearest_neighbour() -> None:
    layer = PixelShuffleUpsample(8, 4)
    x = torch.rand(2, 8, 3, 5)
    with torch.no_grad():
        y = layer(x)
    assert y.shape == (2, 4, 6, 10)
    nearest = y[..., ::2, ::2].repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(y, nearest)
    assert y.std() > 0


def test_dynamic_unet_sums_the_input_channels_of_pretrained_weights(tmp_path: Path) -> None:
    state = build_encoder("resnet18").state_dict()
    torch.save(state, tmp_path / "encoder.pt")
    network = DynamicUNet(encoder_weights=str(tmp_path / "encoder.pt"))
    single = network.encoder.conv1.weight
    assert torch.allclose(single, state["conv1.weight"].sum(1, keepdim=True))
    assert torch.equal(network.encoder.layer4[1].conv2.weight, state["layer4.1.conv2.weight"])
    # so that L as a grey photo gives the same features
    encoder = build_encoder("resnet18", str(tmp_path / "encoder.pt")).eval()
    L = random_L(32, 32)
    with torch.no_grad():
        grey, single_channel = encoder(L.expand(-1, 3, -1, -1)), network.encoder.eval()(L)
    for a, b in zip(grey[1:], single_channel[1:], strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    with pytest.raises(RecipeError, match="cannot read encoder weights"):
        DynamicUNet(encoder_weights=str(tmp_path / "missing.pt"))


def test_dynamic_unet_takes_resnets_only() -> None:
    with torch.device("meta"):
        assert parameters(DynamicUNet(encoder="resnet34")) > parameters(DynamicUNet())
        with pytest.raises(RecipeError, match="takes no encoder 'vgg11'; give a ResNet"):
            DynamicUNet(encoder="vgg11")


@pytest.mark.parametrize("make", NETWORKS, ids=lambda make: make.__name__)
def test_networks_learn_are_deterministic_and_can_be_saved(
    make: Callable[[], nn.Module], tmp_path: Path
) -> None:
    torch.manual_seed(0)
    network, other = make(), make()
    L = torch.cat([random_L(64, 64), 0.1 * random_L(64, 64)])
    network.train()(L).square().mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any() or name.endswith("bias"), name
    network.eval()
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    other.load_state_dict(load_file(tmp_path / "network.safetensors"))
    with torch.no_grad():
        assert torch.equal(network(L), other.eval()(L))
        assert torch.allclose(network(L)[:1], network(L[:1]), atol=1e-4)
