"""The weights that ResNet18 starts from, checked before any training."""

from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from huggingface_hub import hf_hub_url, is_offline_mode, try_to_load_from_cache
from segmentation_models_pytorch.encoders import encoders

from photochrom.errors import RecipeError
from photochrom.training.networks.encoders import build_encoder

_TIMEOUT = 5.0
"""Of the request to the hub, in seconds."""


def find_resnet18_weights(weights: str, *, download: bool = True) -> str:
    """Return the `encoder_weights` of a recipe after a check that they can be had.

    ImageNet weights that are not in the hub's cache need one answer within seconds before they are
    downloaded, as a download without a connection is tried for half a minute.

    Args:
        weights: `none`, `imagenet`, or the path of a state dict.
        download: Download ImageNet weights; otherwise it is only checked that this is possible.

    Raises:
        RecipeError: If the weights cannot be had.
    """
    if weights == "none":
        return weights
    try:
        if weights == "imagenet":
            _check_hub()
            if not download:
                return weights
        else:
            weights = str(Path(weights).resolve())
        build_encoder("resnet18", weights)
    except (RecipeError, OSError, HTTPException) as error:
        reason = error.reason if type(error) is URLError else error  # without brackets
        raise RecipeError(
            f"ResNet18 cannot start from {weights} weights ({reason}); give --resnet18-weights "
            "none to train it from scratch, or the path of a state dict"
        ) from error
    return weights


def _check_hub() -> None:
    """Raise `OSError` or `HTTPException` if ImageNet weights are neither in the cache nor there."""
    source = encoders["resnet18"]["pretrained_settings"]["imagenet"]
    for name in ("config.json", "model.safetensors"):
        where = {"repo_id": source["repo_id"], "filename": name, "revision": source["revision"]}
        if isinstance(try_to_load_from_cache(**where), str):
            continue
        if is_offline_mode():
            raise OSError("they are not in the cache, and HF_HUB_OFFLINE is set")
        try:
            urlopen(Request(hf_hub_url(**where), method="HEAD"), timeout=_TIMEOUT).close()
        except HTTPError as error:
            error.close()  # it is the response as well
            raise
