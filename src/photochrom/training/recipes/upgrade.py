"""The upgrade of recipes of format 1: one flat object with the fields of all networks."""

from collections.abc import Mapping
from typing import Any, Literal

from photochrom.errors import RecipeError

FORMAT: Literal[2] = 2

_DEFAULTS: dict[str, Any] = {
    "discriminator": None,
    "base_channels": 64,
    "discriminator_channels": None,
    "depth": 8,
    "dilations": [1],
    "patch_depth": 3,
    "output": "ab",
    "encoder": "resnet18",
    "encoder_weights": "none",
    "encoder_channels": None,
    "generator_weights": "none",
    "decoder_channels": [256, 128, 64, 32, 16],
    "encoder_padding": "zeros",
    "margin": 0,
    "bounded": False,
    "gan_mode": "bce",
    "label_real": 1.0,
    "lambda_l1": 100.0,
    "lambda_gan": 1.0,
    "lambda_perceptual": 0.0,
    "features": ["tu-efficientnet_lite0"],
    "view": 1.0,
    "ema": None,
    "target_saturation": 1.0,
    "hints": None,
    "aging": 0.0,
    "g_steps": 1,
    "d_threshold": None,
    "optimizer": "adam",
    "lr_g": 2e-4,
    "lr_d": 2e-4,
    "lr_encoder": None,
    "lr_pretrain": None,
    "betas": [0.5, 0.999],
    "weight_decay": 0.0,
    "schedule": "constant",
    "init": "default",
    "image_size": 256,
    "min_side": None,
    "crop_min": None,
    "feed_size": None,
    "flip": True,
    "batch_size": 16,
    "pretrain_epochs": 0,
    "d_only_epochs": 0,
    "epochs": 20,
    "turn_epochs": None,
    "seed": 0,
    "source": "",
    "quoted": [],
}
_NAZERI_UNETS = {"nazeri_unet": {}, "nazeri_unet_paper": {"published_code": False}}
RENAMED = {
    "generator": "generator.kind",
    "discriminator": "discriminator.kind",
    "base_channels": "generator.base_channels",
    "discriminator_channels": "discriminator.base_channels",
    "depth": "generator.depth",
    "dilations": "generator.dilations",
    "patch_depth": "discriminator.depth",
    "output": "output.kind",
    "encoder": "generator.encoder",
    "encoder_weights": "generator.encoder_weights",
    "encoder_channels": "generator.encoder_channels",
    "decoder_channels": "generator.decoder_channels",
    "encoder_padding": "generator.encoder_padding",
    "margin": "generator.reflection_padding",
    "bounded": "generator.tanh_output",
    "generator_weights": "initialization.generator_weights",
    "init": "initialization.scheme",
    "gan_mode": "adversarial.loss.kind",
    "label_real": "adversarial.loss.label_real",
    "view": "adversarial.window",
    "g_steps": "adversarial.g_steps",
    "d_threshold": "adversarial.d_threshold",
    "d_only_epochs": "adversarial.d_only_epochs",
    "turn_epochs": "adversarial.turn_epochs",
    "lr_d": "adversarial.lr_d",
    "lambda_l1": "objective.l1.weight",
    "lambda_gan": "objective.gan.weight",
    "lambda_perceptual": "objective.perceptual.weight",
    "features": "objective.perceptual.networks",
    "optimizer": "optimization.optimizer",
    "lr_g": "optimization.lr_g",
    "lr_encoder": "optimization.lr_encoder",
    "lr_pretrain": "optimization.lr_pretrain",
    "betas": "optimization.beta1",
    "weight_decay": "optimization.weight_decay",
    "schedule": "optimization.lr_schedule",
    "ema": "optimization.ema",
    "target_saturation": "data.saturation",
    "hints": "data.hints",
    "aging": "data.degradation",
    "image_size": "data.image_size",
    "min_side": "data.min_side",
    "crop_min": "data.crop_min",
    "flip": "data.flip",
    "batch_size": "data.batch_size",
    "pretrain_epochs": "schedule.pretrain_epochs",
    "epochs": "schedule.epochs",
    "feed_size": "inference.size",
}
"""The keys of the fields of format 1."""


def upgrade(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a recipe in today's format; those that had no effect are dropped.

    Raises:
        RecipeError: If the format is a later one, or a field of format 1 is unknown or invalid.
    """
    if "format" in values:
        if values["format"] != FORMAT:
            raise RecipeError(
                f"the recipe has format {values['format']!r}, this version reads up to {FORMAT}; "
                "update photochrom"
            )
        return dict(values)
    if isinstance(values.get("generator"), Mapping) or "generator" not in values:
        return {"format": FORMAT, **values}
    unknown = sorted(set(values) - {"generator", *_DEFAULTS})
    if unknown:
        if any(isinstance(value, Mapping) for value in values.values()):
            raise RecipeError(
                f"generator is {values['generator']!r}; it has to be a section, so give "
                "generator.kind"
            )
        raise RecipeError(f"unknown key {unknown[0]!r} in a recipe of format 1; remove it")
    try:
        return _upgrade_1({**_DEFAULTS, **values})
    except (AttributeError, IndexError, TypeError) as error:
        raise RecipeError(f"a value of the recipe of format 1 is invalid: {error}") from error


def _upgrade_1(v: Mapping[str, Any]) -> dict[str, Any]:
    objective = {"l1": {"weight": v["lambda_l1"]}}
    if v["lambda_perceptual"] > 0:
        networks = _tuple(v["features"])
        objective["perceptual"] = {"weight": v["lambda_perceptual"], "networks": networks}
    new: dict[str, Any] = {
        "format": FORMAT,
        "source": v["source"],
        "seed": v["seed"],
        "data": {
            "image_size": v["image_size"],
            "batch_size": v["batch_size"],
            "flip": v["flip"],
            "crop_min": v["crop_min"],
            "min_side": v["min_side"],
            "saturation": v["target_saturation"],
            "degradation": v["aging"],
            "hints": v["hints"] or 0.0,
        },
        "generator": _generator(v),
        "output": {"kind": v["output"]},
        "objective": objective,
        "initialization": {"scheme": v["init"], "generator_weights": v["generator_weights"]},
        "optimization": {
            "optimizer": v["optimizer"],
            "lr_g": v["lr_g"],
            # it had an effect on generators with an encoder only, and 0 froze the encoder
            "lr_encoder": (v["lr_encoder"] or None) if v["generator"] == "encoder_unet" else None,
            "lr_pretrain": v["lr_pretrain"] if v["pretrain_epochs"] > 0 else None,
            "beta1": v["betas"][0],
            "beta2": v["betas"][1],
            "weight_decay": v["weight_decay"],
            "lr_schedule": v["schedule"],
            "ema": v["ema"],
        },
        "schedule": {"pretrain_epochs": v["pretrain_epochs"], "epochs": v["epochs"]},
        "inference": {"size": v["feed_size"]},
    }
    if v["discriminator"] is None:
        if len(objective) == 1:
            objective["l1"]["weight"] = 1.0  # lambda_l1 had no effect
    else:
        label = {} if v["gan_mode"] == "hinge" else {"label_real": v["label_real"]}
        objective["gan"] = {"weight": v["lambda_gan"]}
        new["discriminator"] = _discriminator(v)
        new["adversarial"] = {
            "loss": {"kind": v["gan_mode"], **label},
            "window": v["view"],
            "lr_d": v["lr_d"],
            "g_steps": v["g_steps"],
            "d_threshold": v["d_threshold"],
            "d_only_epochs": v["d_only_epochs"],
            "turn_epochs": v["turn_epochs"],
        }
    keys = [RENAMED[name] for name in v["quoted"] if name in RENAMED]
    new["quoted"] = [key for key in keys if _has(new, key)]
    return new


def _tuple(value: Any) -> Any:
    return [value] if isinstance(value, str) else value  # `features` was one string at first


def _generator(v: Mapping[str, Any]) -> dict[str, Any]:
    kind = v["generator"]
    if kind == "unet":
        # Format 1 had dropout in up to three of the deepest stages, whatever the depth.
        dropout = min(3, v["depth"] - 1 - max(1, v["depth"] - 4))
        dropout = None if dropout == max(0, v["depth"] - 5) else dropout
        sizes = {"base_channels": v["base_channels"], "depth": v["depth"]}
        return {"kind": kind, **sizes, "dropout_stages": dropout}
    if kind in _NAZERI_UNETS:
        sizes = {"base_channels": v["base_channels"], "depth": v["depth"]}
        return {"kind": "nazeri_unet", **sizes, "norm_eps": 1e-5, **_NAZERI_UNETS[kind]}
    if kind == "residual":
        return {
            "kind": kind,
            "channels": v["base_channels"],
            "blocks": v["depth"],
            "dilations": v["dilations"],
        }
    return {
        "kind": kind,
        "encoder": v["encoder"],
        "encoder_weights": v["encoder_weights"],
        "encoder_channels": v["encoder_channels"],
        "decoder_channels": v["decoder_channels"],
        "encoder_padding": v["encoder_padding"],
        "reflection_padding": v["margin"],
        "tanh_output": v["bounded"],
        "hints": v["hints"] is not None,
        "freeze_encoder": v["lr_encoder"] == 0,
    }


def _discriminator(v: Mapping[str, Any]) -> dict[str, Any]:
    kind = v["discriminator"]
    channels = v["discriminator_channels"] or v["base_channels"]
    new = {"kind": kind, "base_channels": channels}
    if kind == "patch":
        new["depth"] = v["patch_depth"]
    elif kind == "projected":
        new["networks"] = _tuple(v["features"])
    elif kind in ("nazeri_patch", "nazeri_scalar"):
        new["norm_eps"] = 1e-5
    elif kind == "classifier":
        new["base_channels"] = max(channels // 2, 1)
    return new


def _has(values: Any, key: str) -> bool:
    for part in key.split("."):
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True
