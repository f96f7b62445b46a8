"""The registries: every part of a recipe that is chosen by name."""

from photochrom.training.recipes.registry import Registry

_NETWORKS = "photochrom.training.networks"
_LOSSES = "photochrom.training.losses"

GENERATORS = Registry(
    "generator",
    {
        "unet": f"{_NETWORKS}.unet:UNet",
        "nazeri_unet": f"{_NETWORKS}.nazeri_unet:NazeriUNet",
        "encoder_unet": f"{_NETWORKS}.encoder_unet:EncoderUNet",
        "dynamic_unet": f"{_NETWORKS}.dynamic_unet:DynamicUNet",
        "residual": f"{_NETWORKS}.residual:ResidualGenerator",
        "zhang2016": f"{_NETWORKS}.zhang2016:Zhang2016",
    },
    arguments=("out_channels",),
    members=("forward", "parameters"),
)
"""`photochrom.training.networks` has the contract."""

OUTPUTS = Registry(
    "output",
    {
        "ab": f"{_NETWORKS}.outputs:AbOutput",
        "lab": f"{_NETWORKS}.outputs:LabOutput",
        "rgb": f"{_NETWORKS}.outputs:RgbOutput",
        "classes": f"{_NETWORKS}.outputs:ClassesOutput",
    },
    members=("channels", "target", "values", "photo", "rgb", "ab"),
)

DISCRIMINATORS = Registry(
    "discriminator",
    {
        "patch": f"{_NETWORKS}.discriminators:PatchDiscriminator",
        "nazeri_patch": f"{_NETWORKS}.discriminators:NazeriPatchDiscriminator",
        "nazeri_scalar": f"{_NETWORKS}.discriminators:NazeriScalarDiscriminator",
        "projected": f"{_NETWORKS}.discriminators:ProjectedDiscriminator",
        "classifier": f"{_NETWORKS}.discriminators:ClassifierDiscriminator",
    },
    members=("forward", "parameters"),
)

ADVERSARIAL_LOSSES = Registry(
    "adversarial loss",
    {
        "bce": f"{_LOSSES}.adversarial:BinaryCrossEntropy",
        "lsgan": f"{_LOSSES}.adversarial:LeastSquares",
        "hinge": f"{_LOSSES}.adversarial:Hinge",
        "wasserstein": f"{_LOSSES}.adversarial:Wasserstein",
    },
    members=("boundary", "real", "fake", "generator"),
)

TERMS = Registry(
    "term",
    {
        "l1": f"{_LOSSES}.terms:l1",
        "gan": f"{_LOSSES}.terms:gan",
        "classes": f"{_LOSSES}.terms:classes",
        "perceptual": f"{_LOSSES}.terms:perceptual",
        "st_lpips": f"{_LOSSES}.terms:st_lpips",
        "colorfulness": f"{_LOSSES}.terms:colorfulness",
        "focal_frequency": f"{_LOSSES}.terms:focal_frequency",
    },
    arguments=("sample",),
)

REGULARIZERS = Registry(
    "regularizer",
    {
        "r1": f"{_LOSSES}.regularizers:r1",
        "gradient_penalty": f"{_LOSSES}.regularizers:gradient_penalty",
    },
    arguments=("sample",),
)
