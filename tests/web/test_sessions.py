import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from photochrom.web.sessions import Sessions, sanitize_name
from support.server import get_service, make_jpeg


@pytest.mark.parametrize(
    ("name", "sanitized"),
    [
        ("C:\\photos\\old.jpg", "old.jpg"),
        ("../../etc/passwd", "passwd"),
        ("..", "photo"),
        ("", "photo"),
        (".hidden.jpg", "hidden.jpg"),
        ("a\nb\0c.jpg", "abc.jpg"),
        ("x" * 300 + ".jpeg", "x" * 115 + ".jpeg"),
    ],
)
def test_sanitize_name_returns_short_line(name: str, sanitized: str):
    assert sanitize_name(name) == sanitized


def test_folders_of_killed_servers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = tmp_path / f"photochrom-web-{ended.pid}-abc"
    stale.mkdir()
    other = tmp_path / "photochrom-web-notes-abc"
    other.mkdir()
    first = Sessions()
    assert not stale.exists()
    assert other.exists()
    second = Sessions()
    assert first.folder.exists()
    first.close()
    second.close()
    assert list(tmp_path.iterdir()) == [other]


def test_disk_limit_rejects_upload(
    web_app: FastAPI, web_client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    service = get_service(web_app)
    full = dataclasses.replace(service.limits, max_disk_bytes=-1)
    monkeypatch.setattr(service, "limits", full)
    web_client.cookies.clear()
    web_client.get("/")
    response = web_client.post("/photos", params={"name": "old.jpg"}, content=make_jpeg())
    assert response.status_code == 507
    assert response.json()["detail"] == "this server is full of photos; try again in an hour"
    assert web_client.get("/photos").json() == {"photos": []}
