"""Fetching a sample of COCO: the official image list, then only the photos that were drawn.

Under the destination lie `.cache/annotations_trainval2017.zip`, which holds the image list, and
the photos in `train2017/` or `val2017/`. Photos appear there whole and checked or not at all, so
that running the same command again goes on where the last one stopped. The annotations are
CC BY 4.0; each photo has the licence that its owner chose on Flickr, named in the annotations.
"""

import hashlib
import io
import json
import re
import time
import zipfile
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import requests
from PIL import Image
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from photochrom.errors import DataError
from photochrom.progress import progress_bar

SPLITS = ("train2017", "val2017")
ARCHIVE = "annotations_trainval2017.zip"
SURPLUS_PERCENT = 5
"""Photos fetched beyond what is asked for, as near-grey ones are dropped later."""

ATTEMPTS = 5
"""Times that a file is asked for before it counts as missing."""
BACKOFF_S = 0.5
"""Seconds before the second retry of a file; each further wait is twice as long."""
TIMEOUT_S = (10.0, 30.0)
"""Seconds to wait for a connection, and for the next bytes of an answer."""
CHUNK = 1 << 16
"""Bytes of the archive written at a time; what a cut connection had of the next is lost."""
GIVE_UP_AFTER = 32
"""Photos that fail one after the other before the rest is not tried: the server is away."""

_NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # a plain file name: the list comes over plain HTTP
_AGAIN = "running the same command again continues from there"


class _SpoiltError(Exception):
    """An answer that came but is not what was asked for: worth asking again."""


@dataclass(frozen=True)
class CocoPhoto:
    """One entry of the image list: `width` and `height` in px, as stored in the file."""

    id: int
    file_name: str
    width: int
    height: int


def fetch(
    dest: Path,
    *,
    count: int,
    split: str = "train2017",
    seed: int = 0,
    workers: int = 8,
    # Not https: the certificate there is the storage provider's and does not name this host.
    base_url: str = "http://images.cocodataset.org",
    progress: bool = True,
) -> list[Path]:
    """Fetch a random sample of COCO photos into `dest/split`; what is there already is kept.

    Args:
        dest: Folder to fetch into, created where it is missing.
        count: Photos wanted. `SURPLUS_PERCENT` more are fetched (rounded up, and no more than
            the split has).
        split: One of `SPLITS`.
        seed: Chooses the sample; see `sample`.
        workers: Photos fetched at the same time.
        base_url: Server and path that hold `annotations/` and the split's folder.
        progress: Show progress bars on stderr.

    Returns:
        The photos in the order of the sample: `count` and the surplus.

    Raises:
        DataError: An argument is not allowed, `dest` cannot be written, or something could not
            be fetched after all retries; what was fetched stays.
    """
    if split not in SPLITS:
        raise DataError(f"COCO has no split {split!r} here; choose one of {', '.join(SPLITS)}")
    if count < 1 or workers < 1:
        raise DataError(f"count is {count} and workers is {workers}; each must be at least 1")
    base_url = base_url.rstrip("/")
    folder, cache = dest / split, dest / ".cache"
    for new in (folder, cache):
        try:
            new.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _unwritable(new, error) from error
    with _session(workers) as session:
        archive = cache / ARCHIVE
        if not archive.exists():
            _fetch_archive(session, f"{base_url}/annotations/{ARCHIVE}", archive, progress)
        photos = _read_images(archive, split)
        if count > len(photos):
            raise DataError(f"{count} photos asked of {split}, which has {len(photos)}; ask fewer")
        chosen = sample(photos, count + -(-count * SURPLUS_PERCENT // 100), seed)
        _fetch_photos(session, f"{base_url}/{split}", folder, chosen, workers, progress)
    return [folder / photo.file_name for photo in chosen]


def sample(photos: Iterable[CocoPhoto], count: int, seed: int) -> list[CocoPhoto]:
    """Draw photos, the same on any machine and whatever the order of the list.

    The photos are ordered by the SHA-256 of `seed:file_name` and the first `count` taken, so that
    a larger sample of the same seed begins with the smaller one.

    Args:
        photos: Where to draw from.
        count: Photos to draw; all of them if there are fewer.
        seed: Chooses the order.

    Returns:
        The sample, in that order.
    """

    def key(photo: CocoPhoto) -> bytes:
        return hashlib.sha256(f"{seed}:{photo.file_name}".encode()).digest()

    return sorted(photos, key=key)[:count]


def _session(workers: int) -> requests.Session:
    """Return a session for `workers` threads that retries refusals and server errors by itself."""
    retry = Retry(
        total=ATTEMPTS - 1,
        backoff_factor=BACKOFF_S,
        status_forcelist=(429, 500, 502, 503, 504),
    )
    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=retry, pool_maxsize=workers))
    session.mount("https://", HTTPAdapter(max_retries=retry, pool_maxsize=workers))
    # A compressed body would not have the length that Content-Length promises.
    session.headers["Accept-Encoding"] = "identity"
    return session


def _unwritable(path: Path, error: OSError) -> DataError:
    reason = error.strerror or str(error)
    return DataError(f"{path} cannot be written ({reason}); make room or choose another folder")


def _reason(error: Exception) -> str:
    """Say why a request failed without the layers of wrapping around it."""
    inner = error.args[0] if error.args else error
    inner = getattr(inner, "reason", None) or inner
    return str(inner.args[0] if isinstance(inner, Exception) and len(inner.args) > 1 else inner)


def _fetch_archive(session: requests.Session, url: str, path: Path, progress: bool) -> None:
    """Fetch the annotation archive (about 250 MB), going on from a `.part` file if one is there."""
    part = path.with_name(path.name + ".part")
    failures, longest, reason = 0, 0, ""
    while failures < ATTEMPTS:
        try:
            _continue_archive(session, url, part, progress)
            part.replace(path)
            return
        except _SpoiltError as error:
            reason = str(error)
        except requests.RequestException as error:  # the session has retried it already
            reason = _reason(error)
            break
        except OSError as error:
            raise _unwritable(path, error) from error
        # A line that is cut again and again but brings something each time is no failure.
        size = part.stat().st_size if part.exists() else 0
        failures = failures + 1 if size <= longest else 1
        longest = max(longest, size)
        time.sleep(BACKOFF_S * 2 ** (failures - 1))
    raise DataError(f"{url} could not be fetched ({reason}); check the connection, and {_AGAIN}")


def _continue_archive(session: requests.Session, url: str, part: Path, progress: bool) -> None:
    """Ask once for what `part` lacks and append it; returns only if `part` is whole then."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        sent = response.headers.get("Content-Range", "")
        if response.status_code == 416:  # nothing is left to send
            if sent != f"bytes */{have}":
                part.unlink()
                raise _SpoiltError("the partial file is longer than the archive")
            total: int | None = have
        else:
            response.raise_for_status()
            if response.status_code == 206:
                match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", sent)
                if match is None or int(match[1]) != have:
                    part.unlink(missing_ok=True)
                    raise _SpoiltError(f"the server sent the wrong range {sent!r}")
                total = int(match[2])
            else:  # the server does not know ranges, and starts again
                have = 0
                length = response.headers.get("Content-Length")
                total = int(length) if length else None
            with (
                part.open("ab" if have else "wb") as file,
                progress_bar(
                    desc="annotations",
                    total=total,
                    initial=have,
                    unit="B",
                    unit_scale=True,
                    disable=not progress,
                ) as bar,
            ):
                try:
                    for chunk in response.iter_content(CHUNK):
                        file.write(chunk)
                        bar.update(len(chunk))
                except requests.RequestException as error:
                    raise _SpoiltError(f"the connection broke: {_reason(error)}") from error
    size = part.stat().st_size
    if total is not None and size < total:
        raise _SpoiltError(f"{size} of {total} bytes came")
    if (total is not None and size > total) or not zipfile.is_zipfile(part):
        part.unlink()
        raise _SpoiltError("what came is not the zip archive")


def _read_images(path: Path, split: str) -> list[CocoPhoto]:
    """Read the image list of a split from the annotation archive; a damaged one is deleted."""
    try:
        with zipfile.ZipFile(path) as archive:
            # Both files hold the same list of images; that of the captions is a fifth the size.
            names = [f"annotations/{kind}_{split}.json" for kind in ("captions", "instances")]
            found = [name for name in names if name in archive.namelist()]
            if not found:
                raise ValueError(f"it has neither {names[0]} nor {names[1]}")
            content = json.loads(archive.read(found[0]))
        photos = [
            CocoPhoto(int(i["id"]), str(i["file_name"]), int(i["width"]), int(i["height"]))
            for i in content["images"]
        ]
        odd = next((p.file_name for p in photos if not _NAME.fullmatch(p.file_name)), None)
        if odd is not None:
            raise ValueError(f"it lists {odd!r}, which is not a plain file name")
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, TypeError) as error:
        path.unlink()
        raise DataError(
            f"{path} is not the COCO annotation archive or is damaged ({error}); it was deleted, "
            "and running the same command again fetches it anew"
        ) from error
    except OSError as error:
        raise DataError(
            f"{path} cannot be read ({error.strerror or error}); make it readable or delete it, "
            "and run the same command again"
        ) from error
    return photos


def _fetch_photos(
    session: requests.Session,
    url: str,
    folder: Path,
    chosen: list[CocoPhoto],
    workers: int,
    progress: bool,
) -> None:
    """Fetch photos in parallel from `url/file_name` to `folder/file_name`."""
    good, in_a_row, first = 0, 0, ""
    pool = ThreadPoolExecutor(workers)
    try:
        jobs = {pool.submit(_fetch_photo, session, url, folder, p): p.file_name for p in chosen}
        with progress_bar(
            total=len(chosen), desc="photos", unit="photo", disable=not progress
        ) as bar:
            for job in as_completed(jobs):
                reason = job.result()
                if reason is None:
                    good, in_a_row = good + 1, 0
                    bar.update()
                    continue
                first = first or f"{jobs[job]}: {reason}"
                in_a_row += 1
                if in_a_row >= GIVE_UP_AFTER:
                    break
    finally:  # also on Ctrl-C and a full disk: what has not begun does not begin
        pool.shutdown(cancel_futures=True)
    if good < len(chosen):
        raise DataError(
            f"{len(chosen) - good} of {len(chosen)} photos are missing as they could not be "
            f"fetched from {url} (the first is {first}); the others are kept in {folder}, and "
            f"{_AGAIN}"
        )


def _fetch_photo(session: requests.Session, url: str, folder: Path, photo: CocoPhoto) -> str | None:
    """Fetch one photo unless a good one is there; returns the reason if that was not possible."""
    path = folder / photo.file_name
    aside = folder / f".{photo.file_name}.part"
    if path.exists() and _fault(path, photo) is None:
        return None
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))
        try:
            body = _body(session, f"{url}/{photo.file_name}")
        except _SpoiltError as error:
            reason = str(error)
            continue
        except requests.RequestException as error:  # the session has retried it already
            return _reason(error)
        fault = _fault(io.BytesIO(body), photo)
        if fault is None:
            try:
                aside.write_bytes(body)
                aside.replace(path)
            except OSError as error:
                aside.unlink(missing_ok=True)
                raise _unwritable(path, error) from error
            return None
        reason = fault
    return reason


def _body(session: requests.Session, url: str) -> bytes:
    """Return the body of an answer, which is as long as it was announced."""
    with session.get(url, stream=True, timeout=TIMEOUT_S) as response:
        response.raise_for_status()
        try:
            body = response.content
        except requests.RequestException as error:
            raise _SpoiltError(f"the connection broke: {_reason(error)}") from error
    length = response.headers.get("Content-Length")
    if length is not None and len(body) != int(length):
        raise _SpoiltError(f"{len(body)} of {length} bytes came")
    return body


def _fault(file: Path | io.BytesIO, photo: CocoPhoto) -> str | None:
    """Say what is wrong with a photo: it does not decode, or not to the listed size."""
    try:
        with Image.open(file) as image:
            if image.size != (photo.width, photo.height):
                want = f"{photo.width} x {photo.height}"
                return f"it has {image.width} x {image.height} px where the list says {want}"
            # An eighth of the size reads all of a JPEG but saves most of the time.
            image.draft("RGB", (image.width // 8, image.height // 8))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"it cannot be decoded ({error})"
    return None
