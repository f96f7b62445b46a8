"""`coco.fetch` against a local HTTP server with injected faults."""

import errno
import hashlib
import io
import json
import threading
import zipfile
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("requests")

from photochrom.errors import DataError
from photochrom.training.data import coco

ANNOTATIONS = f"/annotations/{coco.ARCHIVE}"
NAMES = [f"{i:012d}.jpg" for i in range(12)]
PINNED = ["000000000002.jpg", "000000000004.jpg", "000000000010.jpg", "000000000008.jpg"]


def jpeg(seed: int, width: int, height: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def archive(images: list[dict[str, object]], kind: str = "captions") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as z:
        z.writestr(f"annotations/{kind}_train2017.json", json.dumps({"images": images}))
    return file.getvalue()


class FakeCoco(ThreadingHTTPServer):
    """Serve twelve small photos; `faults[path]` lists the faults of the next responses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        images: list[dict[str, object]] = []
        self.files: dict[str, bytes] = {}
        for i, name in enumerate(NAMES):
            self.files[f"/train2017/{name}"] = jpeg(i, 40 + i, 30)
            images.append({"id": i, "file_name": name, "width": 40 + i, "height": 30})
        self.files[ANNOTATIONS] = archive(images)
        self.images = images
        self.ranges = True
        self.faults: dict[str, list[str]] = {}
        self.requests: list[tuple[str, str | None]] = []  # path, Range header

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def request_counts(self) -> Counter[str]:
        return Counter(Path(path).name for path, _ in self.requests if path != ANNOTATIONS)


class Handler(BaseHTTPRequestHandler):
    server: FakeCoco
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        fake, range_header = self.server, self.headers.get("Range")
        fake.requests.append((self.path, range_header))
        faults = fake.faults.get(self.path, [])
        fault = faults[0] if faults and faults[0].startswith("always ") else ""
        fault = fault.removeprefix("always ") or (faults.pop(0) if faults else "")
        body = fake.files.get(self.path)
        if body is None or fault in ("404", "500"):
            self.respond(404 if body is None else int(fault), b"")
        elif fault == "wrong size":
            self.respond(200, jpeg(99, 20, 20))
        elif fault == "not a photo":
            self.respond(200, b"<html>Log in to the network</html>")
        elif range_header and fake.ranges:
            start = int(range_header.removeprefix("bytes=").removesuffix("-"))
            total = len(body)
            if start >= total:
                self.respond(416, b"", content_range=f"bytes */{total}")
            else:
                where = f"bytes {start}-{total - 1}/{total}"
                self.respond(206, body[start:], fault == "truncated", where)
        else:
            self.respond(200, body, fault == "truncated")

    def respond(
        self, status: int, body: bytes, truncated: bool = False, content_range: str | None = None
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if content_range:
            self.send_header("Content-Range", content_range)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if truncated else body)
        self.close_connection = truncated

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCoco]:
    monkeypatch.setattr(coco, "BACKOFF_S", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with FakeCoco() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def fetch(fake: FakeCoco, dest: Path, count: int = 5, **kwargs: object) -> list[Path]:
    options: dict[str, object] = {"base_url": fake.url, "progress": False, "workers": 3}
    return coco.fetch(dest, count=count, **(options | kwargs))  # type: ignore[arg-type]


def expected(count: int, seed: int = 0) -> list[str]:
    order = sorted(NAMES, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())
    return order[:count]


def test_only_the_sample_is_downloaded_and_only_once(fake: FakeCoco, tmp_path: Path) -> None:
    paths = fetch(fake, tmp_path)
    assert [path.name for path in paths] == expected(6)  # 5 and the surplus, rounded up
    for path in paths:
        assert path.read_bytes() == fake.files[f"/train2017/{path.name}"]
    assert fake.request_counts() == Counter(expected(6))
    assert sorted(p.name for p in (tmp_path / "train2017").iterdir()) == sorted(expected(6))
    fake.requests.clear()
    assert fetch(fake, tmp_path) == paths
    assert fake.requests == []


@pytest.mark.parametrize("ranges", [True, False])
def test_transient_faults_are_retried(fake: FakeCoco, tmp_path: Path, ranges: bool) -> None:
    fake.ranges = ranges
    photo = [f"/train2017/{name}" for name in NAMES]
    fake.faults = {
        ANNOTATIONS: ["500", "truncated", "500", "truncated"],
        photo[0]: ["500", "500"],
        photo[1]: ["truncated"],
        photo[2]: ["wrong size"],
        photo[3]: ["not a photo", "500", "truncated", "wrong size"],
    }
    paths = fetch(fake, tmp_path, count=12)
    assert {path.name for path in paths} == set(NAMES)
    for path in paths:
        assert path.read_bytes() == fake.files[f"/train2017/{path.name}"]
    assert fake.request_counts() == Counter(dict.fromkeys(NAMES, 1)) + Counter(
        {NAMES[0]: 2, NAMES[1]: 1, NAMES[2]: 1, NAMES[3]: 4}
    )
    assert not list(tmp_path.rglob("*.part"))


def test_sample_depends_on_the_seed_only() -> None:
    photos = [coco.CocoPhoto(name, 1, 1) for name in NAMES]
    chosen = [p.file_name for p in coco.sample(photos, 4, seed=0)]
    assert chosen == PINNED
    assert [p.file_name for p in coco.sample(photos[::-1], 4, seed=0)] == chosen
    assert [p.file_name for p in coco.sample(photos, 6, seed=0)][:4] == chosen
    assert [p.file_name for p in coco.sample(photos, 4, seed=1)] != chosen


def test_persistent_fault_is_reported_and_other_photos_are_kept(
    fake: FakeCoco, tmp_path: Path
) -> None:
    missing = expected(6)[0]
    for fault in ("500", "404", "truncated", "wrong size"):
        fake.faults = {f"/train2017/{missing}": [f"always {fault}"]}
        fake.requests.clear()
        with pytest.raises(
            DataError, match=r"1 of 6 photos could not be .*run the same command again"
        ) as e:
            fetch(fake, tmp_path)
        assert missing in str(e.value)
        assert fake.request_counts()[missing] == (1 if fault == "404" else coco.ATTEMPTS)
        kept = sorted(p.name for p in (tmp_path / "train2017").iterdir())
        assert kept == sorted(expected(6)[1:])
    fake.faults = {}
    fake.requests.clear()
    assert len(fetch(fake, tmp_path)) == 6
    assert fake.request_counts() == Counter([missing])


def test_consecutive_failures_stop_the_download(
    fake: FakeCoco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco, "MAX_CONSECUTIVE_FAILURES", 2)
    fake.faults = {f"/train2017/{name}": ["always 500"] for name in NAMES}
    with pytest.raises(DataError, match="12 of 12 photos could not be downloaded"):
        fetch(fake, tmp_path, count=12, workers=1)
    assert len(fake.request_counts()) < 12


def test_damaged_photos_are_downloaded_again(fake: FakeCoco, tmp_path: Path) -> None:
    paths = fetch(fake, tmp_path)
    body = paths[0].read_bytes()
    paths[0].write_bytes(body[: len(body) // 2])
    paths[1].write_bytes(jpeg(0, 20, 20))
    fake.requests.clear()
    fetch(fake, tmp_path)
    assert paths[0].read_bytes() == body
    assert fake.request_counts() == Counter(path.name for path in paths[:2])


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("share", [0.5, 1.0, 1.5])
def test_archive_download_resumes(
    fake: FakeCoco, tmp_path: Path, ranges: bool, share: float
) -> None:
    fake.ranges = ranges
    whole = fake.files[ANNOTATIONS]
    have = int(len(whole) * share)
    part = tmp_path / ".cache" / f"{coco.ARCHIVE}.part"
    part.parent.mkdir()
    part.write_bytes((whole + whole)[:have])
    fetch(fake, tmp_path)
    range_headers = [r for path, r in fake.requests if path == ANNOTATIONS]
    assert range_headers == [f"bytes={have}-"] + ([None] if ranges and share > 1 else [])
    assert (part.parent / coco.ARCHIVE).read_bytes() == whole
    assert not part.exists()


def test_archive_attempts_with_progress_are_not_failures(
    fake: FakeCoco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coco, "CHUNK_SIZE", 16)
    fake.faults = {ANNOTATIONS: ["truncated"] * (coco.ATTEMPTS + 1)}
    assert len(fetch(fake, tmp_path)) == 6
    range_headers = [r for path, r in fake.requests if path == ANNOTATIONS]
    assert range_headers[0] is None
    assert all(range_headers[1:])
    assert (tmp_path / ".cache" / coco.ARCHIVE).read_bytes() == fake.files[ANNOTATIONS]


@pytest.mark.parametrize("fault", ["404", "500", "not a photo"])
def test_persistent_fault_of_the_archive_is_reported(
    fake: FakeCoco, tmp_path: Path, fault: str
) -> None:
    fake.faults = {ANNOTATIONS: [f"always {fault}"]}
    with pytest.raises(DataError, match=r"annotations_trainval2017.zip could not be downloaded"):
        fetch(fake, tmp_path)
    fake.faults = {}
    assert len(fetch(fake, tmp_path)) == 6


def test_instances_are_used_if_captions_are_missing(fake: FakeCoco, tmp_path: Path) -> None:
    fake.files[ANNOTATIONS] = archive(fake.images, "instances")
    assert len(fetch(fake, tmp_path)) == 6


def test_invalid_archives_are_deleted(fake: FakeCoco, tmp_path: Path) -> None:
    good = fake.files[ANNOTATIONS]
    escaping = [dict(fake.images[0], file_name="../../escaped.jpg")]
    damaged = good.replace(b'"images"', b'"imagos"')  # its checksum no longer fits
    for body in (archive(fake.images, "other"), archive(escaping), archive([{}]), damaged):
        fake.files[ANNOTATIONS] = body
        with pytest.raises(DataError, match="it was deleted"):
            fetch(fake, tmp_path)
    fake.files[ANNOTATIONS] = good
    assert len(fetch(fake, tmp_path)) == 6
    assert set(fake.request_counts()) == set(expected(6))


def test_invalid_arguments_are_rejected_before_any_download(fake: FakeCoco, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="train2017, val2017"):
        fetch(fake, tmp_path, split="test2017")
    for wrong in ({"count": 0}, {"workers": 0}):
        with pytest.raises(DataError, match="at least 1"):
            fetch(fake, tmp_path, **wrong)  # type: ignore[arg-type]
    assert fake.requests == []
    with pytest.raises(DataError, match="count is 13, but train2017 has 12 photos"):
        fetch(fake, tmp_path, count=13)
    assert not fake.request_counts()


def test_unwritable_folder_is_an_error(
    fake: FakeCoco, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot make folder"):
        fetch(fake, tmp_path / "file")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("photochrom.imagefile.atomic.os.fsync", full)
    with pytest.raises(DataError, match=r"No space left on device.*free space"):
        fetch(fake, tmp_path / "new")
    assert not list((tmp_path / "new" / "train2017").iterdir())


def test_progress_shows_a_rate(
    fake: FakeCoco, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fetch(fake, tmp_path, progress=True)
    shown = capsys.readouterr().err
    assert "photos: 6 of 6 (100 %), " in shown
    assert "/s, took" in shown
