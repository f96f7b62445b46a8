import subprocess
import sys
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from photochrom.web.sessions import Sessions, plain_name
from support.server import jpeg, service_of


@pytest.mark.parametrize(
    ("given", "kept"),
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
def test_names_are_one_short_line(given: str, kept: str):
    assert plain_name(given) == kept


def test_folders_of_killed_servers_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left = tmp_path / f"photochrom-web-{ended.pid}-abc"
    left.mkdir()
    other = tmp_path / "photochrom-web-notes-abc"
    other.mkdir()
    first = Sessions()
    assert not left.exists()
    assert other.exists()
    second = Sessions()
    assert first.folder.exists()
    first.close()
    second.close()
    assert list(tmp_path.iterdir()) == [other]


def test_a_full_disk_is_said_before_the_upload(web_app: FastAPI, web_client: TestClient):
    service = service_of(web_app)
    room, service._room = service._room, int(9e9)
    try:
        web_client.cookies.clear()
        web_client.get("/")
        answer = web_client.post("/photos", params={"name": "old.jpg"}, content=jpeg())
    finally:
        service._room = room
    assert answer.status_code == 507
    assert answer.json()["detail"] == "this server is full of photos; try again in an hour"
    assert web_client.get("/photos").json() == {"photos": []}
