"""The hub that encoders' weights are downloaded from."""

from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

TIMEOUT = 5.0
"""Of the request to the hub, in seconds."""


def check_hub(encoder: str) -> None:
    """Check that an encoder's ImageNet weights are in the hub's cache, or that the hub answers.

    One request with a short timeout, as a download without a connection is tried for half a minute.

    Args:
        encoder: As in `photochrom.training.networks.encoders.build_encoder`.

    Raises:
        OSError: If they are neither in the cache nor to be had.
    """
    from huggingface_hub import hf_hub_url, is_offline_mode, try_to_load_from_cache

    repository, revision, files = _find_source(encoder)
    cached = (try_to_load_from_cache(repository, file, revision=revision) for file in files)
    missing = [file for file, path in zip(files, cached, strict=True) if not isinstance(path, str)]
    if not missing:
        return
    if is_offline_mode():
        raise OSError("they are not in the cache, and HF_HUB_OFFLINE is set")
    try:
        url = hf_hub_url(repository, missing[0], revision=revision)
        urlopen(Request(url, method="HEAD"), timeout=TIMEOUT).close()
    except HTTPError as error:
        error.close()  # it is the response as well
        if error.code >= 500:  # of others, such as a file of another name, the download decides
            raise
    except HTTPException as error:
        raise OSError(str(error)) from error
    except URLError as error:
        raise OSError(str(error.reason)) from error


def _find_source(encoder: str) -> tuple[str, str | None, tuple[str, ...]]:
    """Return repository, revision, and files of an encoder's weights; no files if it has none."""
    if encoder.startswith("tu-"):
        import timm

        config = timm.get_pretrained_cfg(encoder.removeprefix("tu-"))
        if config is None or config.hf_hub_id is None:
            return "", None, ()
        return config.hf_hub_id, None, ("model.safetensors",)
    from segmentation_models_pytorch.encoders import encoders

    source = encoders.get(encoder, {}).get("pretrained_settings", {}).get("imagenet")
    if source is None:
        return "", None, ()
    return source["repo_id"], source["revision"], ("config.json", "model.safetensors")
