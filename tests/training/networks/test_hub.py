"""The check of the hub before weights are downloaded; a server on this machine stands in for it."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from photochrom.errors import RecipeError
from photochrom.training.networks import encoders
from photochrom.training.networks.encoders import build_encoder, check_download
from photochrom.training.recipes.loading import named_recipe
from photochrom.training.recipes.recipe import override

ENCODERS = {"resnet18": "config.json", "tu-resnet18": "model.safetensors"}
"""Encoders, and the file that is asked for first."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    """A hub without connection to its storage, and an empty cache."""

    class Down(BaseHTTPRequestHandler):
        code = 503

        def do_HEAD(self) -> None:
            requests.append(self.path)
            self.send_error(self.code)

        def log_message(self, *_: object) -> None:
            pass

    requests: list[str] = []
    server = HTTPServer(("127.0.0.1", 0), Down)
    server.requests = requests  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.hf_hub_url", lambda _, file, **__: url + file)
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ENCODERS)
def test_hub_that_is_down_is_asked_once(name: str, hub: HTTPServer) -> None:
    with pytest.raises(RecipeError, match=rf"weights of {name} could not .*503.*; go online"):
        build_encoder(name, "imagenet")
    assert hub.requests == [f"/{ENCODERS[name]}"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ENCODERS)
def test_training_without_a_connection_fails_within_seconds(name: str, hub: HTTPServer) -> None:
    hub.shutdown()
    hub.server_close()
    changes = {"generator.encoder": name, "generator.encoder_weights": "imagenet"}
    recipe = override(named_recipe("resnet18-unet-patchgan"), changes)
    start = time.monotonic()
    with pytest.raises(RecipeError, match=r"refused\); go online, or give none"):
        recipe.generator.build(2)
    assert time.monotonic() - start < 5


def test_hub_that_does_not_answer_is_not_waited_for(
    hub: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photochrom.training.networks.hub.TIMEOUT", 0.2)
    hub.shutdown()  # it accepts connections, and reads none
    with pytest.raises(RecipeError, match="timed out"):
        check_download("resnet18")


def test_answer_that_a_file_is_missing_is_left_to_the_download(hub: HTTPServer) -> None:
    hub.RequestHandlerClass.code = 404  # type: ignore[attr-defined]
    check_download("tu-resnet18")
    assert hub.requests == ["/model.safetensors"]  # type: ignore[attr-defined]


def test_weights_in_the_cache_need_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: "file")
    monkeypatch.setattr("huggingface_hub.hf_hub_url", lambda *_, **__: pytest.fail("a request"))
    for name in ENCODERS:
        check_download(name)


def test_encoders_without_weights_on_the_hub_need_no_hub(hub: HTTPServer) -> None:
    for name in ("no_such_encoder", "tu-no_such_model"):
        with pytest.raises(RecipeError, match=f"cannot build the encoder '{name}'"):
            build_encoder(name, "imagenet")
    build_encoder(next(iter(encoders.PACKAGED_WEIGHTS)), "imagenet")
    assert hub.requests == []  # type: ignore[attr-defined]
