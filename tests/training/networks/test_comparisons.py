"""Networks against independent implementations, with the same weights."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from photochrom.training.networks.dynamic_unet import DynamicUNet
from photochrom.training.networks.encoder_unet import EncoderUNet
from photochrom.training.networks.encoders import build_encoder


def random_L(*size: int) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(0)) * 2 - 1


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy weights by their order, whatever their names."""
    values = source.state_dict().values()
    target.load_state_dict(dict(zip(target.state_dict(), values, strict=True)))


@pytest.mark.parametrize("training", [True, False])
def test_encoder_unet_is_the_unet_of_segmentation_models_pytorch(training: bool) -> None:
    torch.manual_seed(0)
    theirs = smp.Unet("resnet18", encoder_weights=None, classes=2).train(training)
    ours = EncoderUNet().train(training)
    copy_weights(theirs, ours)
    L = random_L(2, 1, 64, 96)
    expected, ab = theirs(L.expand(-1, 3, -1, -1)), ours(L)
    assert torch.equal(ab, expected)
    assert ab.std() > 0.01
    expected.square().sum().backward()
    ab.square().sum().backward()
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert a.grad is not None
        assert b.grad is not None
        assert torch.allclose(a.grad, b.grad, rtol=1e-3, atol=1e-3 * a.grad.abs().max().item())


def test_encoder_of_the_dynamic_unet_is_the_resnet_of_torchvision() -> None:
    torch.manual_seed(0)
    theirs = resnet18().eval()
    theirs.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    state = {key: v for key, v in theirs.state_dict().items() if not key.startswith("fc.")}
    network = DynamicUNet().eval()
    network.encoder.load_state_dict(state)
    L = random_L(1, 1, 64, 64)
    with torch.no_grad():
        x = theirs.relu(theirs.bn1(theirs.conv1(L)))
        expected = [L, x]
        x = theirs.maxpool(x)
        for layer in (theirs.layer1, theirs.layer2, theirs.layer3, theirs.layer4):
            x = layer(x)
            expected.append(x)
        features = network.encoder(L)
    assert len(features) == len(expected)
    assert all(torch.equal(a, b) for a, b in zip(features, expected, strict=True))


def test_encoder_of_timm_gives_the_features_of_timm() -> None:
    name = "efficientnet_lite0"
    torch.manual_seed(0)
    theirs = timm.create_model(name, features_only=True).eval()
    ours = build_encoder(f"tu-{name}").eval()
    copy_weights(theirs, ours)
    rgb = random_L(1, 3, 64, 64)
    with torch.no_grad():
        expected, features = theirs(rgb), ours(rgb)
    assert torch.equal(features[0], rgb)
    assert all(torch.equal(a, b) for a, b in zip(features[1:], expected, strict=True))
