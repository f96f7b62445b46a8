"""`RECIPES`: the recipes of the report, of its sources, and ours; variants state differences only.

Imports no torch, so that `photochrom recipes` starts fast.
"""

from dataclasses import replace

from photochrom.errors import RecipeError
from photochrom.training.recipes.recipe import Recipe

_REPORT = 'Hamrick and Siu, "OrGANic Image Colorizations using Deep Learning"'
_TUTORIAL = "Shariatnia, Image Colorization Tutorial (moein-shariatnia/Deep-Learning)"
_NAZERI = "Nazeri, Ng and Ebrahimi 2018, arXiv 1803.05400"

# The report states networks, losses and epochs; channels, optimizer, batch size and init are those
# of the tutorial that it follows.
_UNET = Recipe(
    generator="unet",
    discriminator="patch",
    init="normal",
    source=f"{_REPORT}, system 2",
    quoted=("generator", "discriminator", "output", "gan_mode", "image_size", "flip", "epochs"),
)
_TUTORIAL_QUOTED = (
    *("generator", "discriminator", "base_channels", "depth", "patch_depth", "output"),
    *("gan_mode", "label_real", "lambda_l1", "g_steps", "optimizer", "lr_g", "lr_d", "betas"),
    *("schedule", "init", "image_size", "flip", "batch_size", "pretrain_epochs", "epochs"),
)

_LITE0_L1 = Recipe(
    generator="encoder_unet",
    encoder="tu-efficientnet_lite0",
    encoder_weights="imagenet",
    decoder_channels=(192, 128, 96, 64),
    optimizer="adamw",
    lr_g=1.5e-3,
    lr_encoder=4e-4,
    betas=(0.9, 0.999),
    weight_decay=0.01,
    schedule="cosine",
    image_size=128,
    feed_size=192,
    batch_size=32,
    epochs=14,
    source="photochrom: the default model, first part",
)

# The five stages of the next default model; each starts from the weights of the previous one.
_STAGE_1 = replace(
    _LITE0_L1,
    encoder="tu-efficientnet_lite2",
    decoder_channels=(256, 128, 64, 32),
    encoder_padding="replicate",
    lr_encoder=0.0,
    hints=0.0,
    image_size=96,
    feed_size=192,
    min_side=96,
    crop_min=0.5,
    epochs=1,
    source="photochrom: the next default model, stage 1: the decoder, with L1",
)
_STAGE_2 = replace(
    _STAGE_1,
    lr_g=1e-3,
    lr_encoder=3e-4,
    hints=0.5,
    aging=0.2,
    ema=0.999,
    epochs=5,
    source="photochrom: the next default model, stage 2: the whole generator, with L1",
)
_STAGE_3 = replace(
    _STAGE_2,
    margin=16,
    bounded=True,
    discriminator="projected",
    features=(
        *("tu-efficientnet_lite0", "stlpips-alexnet"),
        *("tu-efficientnet_lite2", "stlpips-vgg16"),
    ),
    gan_mode="hinge",
    lambda_l1=10.0,
    lambda_gan=0.4,
    lambda_perceptual=1.0,
    ema=0.999,
    aging=0.3,
    image_size=128,
    min_side=128,
    crop_min=0.667,
    view=0.75,
    lr_g=3e-4,
    lr_encoder=1e-4,
    lr_d=4e-4,
    betas=(0.5, 0.99),
    batch_size=16,
    epochs=2,
    source="photochrom: the next default model, stage 3: against the discriminator at 128 px",
)
_STAGE_4 = replace(
    _STAGE_3,
    image_size=192,
    min_side=144,
    lr_g=2e-4,
    lr_encoder=6e-5,
    lr_d=3e-4,
    epochs=1,
    source="photochrom: the next default model, stage 4: against the discriminator at 192 px",
)
_STAGE_5 = replace(
    _STAGE_4,
    image_size=256,
    feed_size=256,
    min_side=224,
    batch_size=8,
    lr_g=1e-4,
    lr_encoder=3e-5,
    lr_d=2e-4,
    source="photochrom: the next default model, stage 5: against the discriminator at 256 px",
)

RECIPES: dict[str, Recipe] = {
    "custom": replace(
        _UNET,
        generator="residual",
        discriminator="classifier",
        depth=8,
        source=f"{_REPORT}, system 1",
    ),
    "unet-patchgan": _UNET,
    "resnet18-unet-patchgan": replace(
        _UNET,
        generator="encoder_unet",
        encoder_weights="imagenet",
        lambda_l1=1.0,
        source=f"{_REPORT}, system 3",
        quoted=(*_UNET.quoted, "encoder", "encoder_weights", "lambda_l1"),
    ),
    "unet-patchgan-l1pre": replace(
        _UNET,
        pretrain_epochs=20,
        epochs=15,
        lr_pretrain=1e-4,
        source=f"{_REPORT}, system 4",
        quoted=(*_UNET.quoted, "pretrain_epochs"),
    ),
    "unet-l1": replace(
        _UNET,
        discriminator=None,
        source=f"{_REPORT}, system 2 without its discriminator",
        quoted=("generator", "output", "image_size", "flip", "epochs"),
    ),
    "nazeri-paper": replace(
        _UNET,
        generator="nazeri_unet_paper",
        output="lab",
        discriminator="nazeri_scalar",
        depth=7,
        label_real=0.9,
        schedule="plateau",
        init="he",
        epochs=10,
        source=_NAZERI,
        quoted=(
            *("generator", "discriminator", "output", "gan_mode", "label_real", "lambda_l1"),
            *("optimizer", "lr_g", "lr_d", "betas", "schedule", "init", "image_size"),
        ),
    ),
    "nazeri-code": replace(
        _UNET,
        generator="nazeri_unet",
        output="lab",
        discriminator="nazeri_patch",
        depth=7,
        g_steps=2,
        lr_g=3e-4,
        lr_d=3e-5,
        betas=(0.0, 0.999),
        schedule="exponential",
        init="variance-scaling",
        epochs=10,
        source="ImagingLab/Colorizing-with-GANs at 13bb4c4, Places365",
        quoted=(
            *("generator", "discriminator", "base_channels", "depth", "output", "gan_mode"),
            *("label_real", "lambda_l1", "g_steps", "optimizer", "lr_g", "lr_d", "betas"),
            *("schedule", "init", "image_size", "batch_size", "epochs"),
        ),
    ),
    "shariatnia-unet": replace(_UNET, epochs=100, source=_TUTORIAL, quoted=_TUTORIAL_QUOTED),
    "shariatnia-resnet18": replace(
        _UNET,
        generator="encoder_unet",
        encoder_weights="imagenet",
        pretrain_epochs=20,
        lr_pretrain=1e-4,
        source=f"{_TUTORIAL}, second model; its fastai DynamicUnet is a U-Net of "
        "segmentation-models-pytorch here",
        quoted=(
            *(name for name in _TUTORIAL_QUOTED if name not in ("base_channels", "depth", "init")),
            *("encoder", "encoder_weights", "lr_pretrain"),
        ),
    ),
    "lite0-unet-patchgan": replace(
        _UNET,
        generator="encoder_unet",
        encoder="tu-efficientnet_lite0",
        encoder_weights="imagenet",
        lambda_l1=1.0,
        source="photochrom: system 3 of the report on an encoder whose weights are always at hand",
        quoted=(),
    ),
    "lite0-unet-l1": _LITE0_L1,
    "photochrom": replace(
        _LITE0_L1,
        encoder_padding="replicate",
        margin=16,
        bounded=True,
        discriminator="projected",
        gan_mode="hinge",
        lambda_l1=10.0,
        lambda_gan=0.4,
        lambda_perceptual=1.0,
        ema=0.999,
        aging=0.3,
        image_size=192,
        crop_min=0.667,
        view=0.75,
        lr_g=3e-4,
        lr_encoder=1e-4,
        lr_d=4e-4,
        betas=(0.5, 0.99),
        batch_size=16,
        epochs=3,
        source="photochrom: the default model, from the weights of lite0-unet-l1",
    ),
    "photochrom-stage-1": _STAGE_1,
    "photochrom-stage-2": _STAGE_2,
    "photochrom-stage-3": _STAGE_3,
    "photochrom-stage-4": _STAGE_4,
    "photochrom-stage-5": _STAGE_5,
    "tiny": Recipe(
        generator="unet",
        discriminator="patch",
        base_channels=4,
        depth=4,
        init="normal",
        image_size=32,
        batch_size=4,
        pretrain_epochs=1,
        epochs=1,
        source="photochrom: seconds on a CPU, for tests",
    ),
}


def get_recipe(name: str) -> Recipe:
    """Return one of `RECIPES`.

    Raises:
        RecipeError: If there is no recipe of this name.
    """
    if name not in RECIPES:
        raise RecipeError(f"unknown recipe {name!r}; choose from {', '.join(RECIPES)}")
    return RECIPES[name]
