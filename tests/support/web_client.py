"""What the tests of the page's routes do with a client."""

import io
import time
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from numpy.typing import NDArray
from PIL import Image


def upload(client: TestClient, content: bytes, name: str = "old.jpg") -> dict[str, Any]:
    """Add a photo."""
    response = client.post("/photos", params={"name": name}, content=content)
    assert response.status_code == 201, response.text
    return dict(response.json())


def wait_until_ready(client: TestClient, count: int = 1) -> list[dict[str, Any]]:
    """Wait until all photos are ready or failed."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        photos = client.get("/photos").json()["photos"]
        if len(photos) == count and all(p["status"] in ("ready", "failed") for p in photos):
            return list(photos)
        time.sleep(0.02)
    raise AssertionError(photos)


def read_image(response: Any) -> NDArray[np.int_]:
    """Return the pixels of a picture, shape (h, w, 3)."""
    assert response.status_code == 200, response.text
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB")).astype(int)
