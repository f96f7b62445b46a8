"""Download a random sample of COCO: the official image list, then only the sampled photos.

`DEST/.cache/annotations_trainval2017.zip` holds the image list, `DEST/train2017/` or `val2017/` the
photos. Photos are checked and written atomically, so running the same command again continues. The
annotations are CC BY 4.0; they name the licence of each photo.
"""

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
from photochrom.imagefile.atomic import make_folder, write_atomic
from photochrom.progress import progress_bar
from photochrom.training.data.prepare import sampling_key

SPLITS = ("train2017", "val2017")
ARCHIVE = "annotations_trainval2017.zip"
SURPLUS_PERCENT = 5
"""Additional photos, as near-grey ones are dropped later."""

ATTEMPTS = 5
"""Requests for a file before it counts as missing."""
BACKOFF_S = 0.5
"""Seconds before the first retry after an invalid response, doubled for each further one; after an
error of connection or server, before the second."""
TIMEOUT_S = (10.0, 30.0)
"""Timeouts of connecting and reading in seconds."""
CHUNK_SIZE = 1 << 16
"""Bytes of the archive written at a time; a broken connection loses less than one chunk."""
MAX_CONSECUTIVE_FAILURES = 32
"""Failed photos in a row before the download stops, as the server is probably down."""

_FILE_NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # no paths: the list comes over plain HTTP
_CONTINUE = "run the same command again to continue"


class _InvalidResponseError(Exception):
    """A response that is incomplete or has the wrong content; worth a retry."""


@dataclass(frozen=True)
class CocoPhoto:
    """An entry of the image list; `width` and `height` in px, as stored in the file."""

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
    # Not https: the certificate is the storage provider's and does not cover this host name.
    base_url: str = "http://images.cocodataset.org",
    progress: bool = True,
) -> list[Path]:
    """Download a random sample of COCO photos to `dest/split`; existing photos are kept.

    Args:
        dest: Folder, created if it does not exist.
        count: Number of photos. `SURPLUS_PERCENT` more are downloaded, rounded up, as far as the
            split has them.
        split: One of `SPLITS`.
        seed: Seed of the sample, see `sample`.
        workers: Number of parallel downloads.
        base_url: URL that has `annotations/` and the folder of the split.
        progress: Show progress bars on stderr.

    Returns:
        The photos, including the surplus, in the order of the sample.

    Raises:
        DataError: If an argument is out of range, `dest` cannot be written, or a file could not be
            downloaded after all retries. Downloaded files are kept.
    """
    if split not in SPLITS:
        raise DataError(f"the COCO split is {split!r}; choose one of {', '.join(SPLITS)}")
    if count < 1 or workers < 1:
        raise DataError(f"count is {count} and workers is {workers}; each must be at least 1")
    base_url = base_url.rstrip("/")
    folder, cache = dest / split, dest / ".cache"
    make_folder(folder, DataError)
    make_folder(cache, DataError)
    with _session(workers) as session:
        archive = cache / ARCHIVE
        if not archive.exists():
            _fetch_archive(session, f"{base_url}/annotations/{ARCHIVE}", archive, progress)
        photos = _read_image_list(archive, split)
        if count > len(photos):
            raise DataError(f"count is {count}, but {split} has {len(photos)} photos; give fewer")
        chosen = sample(photos, count + -(-count * SURPLUS_PERCENT // 100), seed)
        _fetch_photos(session, f"{base_url}/{split}", folder, chosen, workers, progress)
    return [folder / photo.file_name for photo in chosen]


def sample(photos: Iterable[CocoPhoto], count: int, seed: int) -> list[CocoPhoto]:
    """Return the first `count` photos in the order of `sampling_key`.

    The sample depends neither on the machine nor on the order of `photos`, and a larger sample
    starts with the smaller one of the same seed.
    """
    return sorted(photos, key=lambda photo: sampling_key(photo.file_name, seed))[:count]


def _session(workers: int) -> requests.Session:
    """Return a session for `workers` threads that retries connection and server errors."""
    retry = Retry(
        total=ATTEMPTS - 1,
        backoff_factor=BACKOFF_S,
        status_forcelist=(429, 500, 502, 503, 504),
    )
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, HTTPAdapter(max_retries=retry, pool_maxsize=workers))
    # Content-Length is not the length of the content of a compressed response.
    session.headers["Accept-Encoding"] = "identity"
    return session


def _unwritable(path: Path, error: OSError) -> DataError:
    reason = error.strerror or str(error)
    return DataError(f"cannot write {path} ({reason}); free space or choose another folder")


def _describe(error: Exception) -> str:
    """Return the message of the innermost of the exceptions that requests and urllib3 nest."""
    inner = error.args[0] if error.args else error
    inner = getattr(inner, "reason", None) or inner
    return str(inner.args[0] if isinstance(inner, Exception) and len(inner.args) > 1 else inner)


def _fetch_archive(session: requests.Session, url: str, path: Path, progress: bool) -> None:
    """Download the annotation archive (about 250 MB), resuming a partial download."""
    part = path.with_name(path.name + ".part")
    failures, max_size, reason = 0, 0, ""
    while failures < ATTEMPTS:
        try:
            _resume_archive(session, url, part, progress)
            part.replace(path)
            return
        except _InvalidResponseError as error:
            reason = str(error)
        except requests.RequestException as error:  # after the retries of the session
            reason = _describe(error)
            break
        except OSError as error:
            raise _unwritable(path, error) from error
        # After an attempt that made progress, the count starts again.
        size = part.stat().st_size if part.exists() else 0
        failures = failures + 1 if size <= max_size else 1
        max_size = max(max_size, size)
        time.sleep(BACKOFF_S * 2 ** (failures - 1))
    raise DataError(
        f"{url} could not be downloaded ({reason}); check the connection, and {_CONTINUE}"
    )


def _resume_archive(session: requests.Session, url: str, part: Path, progress: bool) -> None:
    """Request the rest of the archive once and append it to `part`.

    Raises:
        _InvalidResponseError: If `part` is not the complete archive afterwards.
    """
    start = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={start}-"} if start else {}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        content_range = response.headers.get("Content-Range", "")
        if response.status_code == 416:  # range not satisfiable: nothing is left
            if content_range != f"bytes */{start}":
                part.unlink()
                raise _InvalidResponseError("the partial file is longer than the archive")
            total: int | None = start
        else:
            response.raise_for_status()
            if response.status_code == 206:
                match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", content_range)
                if match is None or int(match[1]) != start:
                    part.unlink(missing_ok=True)
                    raise _InvalidResponseError(f"the server sent the range {content_range!r}")
                total = int(match[2])
            else:  # the server does not support ranges
                start = 0
                length = response.headers.get("Content-Length")
                total = int(length) if length else None
            with (
                part.open("ab" if start else "wb") as file,
                progress_bar(
                    desc="annotations",
                    total=total,
                    initial=start,
                    unit="B",
                    unit_scale=True,
                    disable=not progress,
                ) as bar,
            ):
                try:
                    for chunk in response.iter_content(CHUNK_SIZE):
                        file.write(chunk)
                        bar.update(len(chunk))
                except requests.RequestException as error:
                    raise _InvalidResponseError(_describe(error)) from error
    size = part.stat().st_size
    if total is not None and size < total:
        raise _InvalidResponseError(f"received {size} of {total} bytes")
    if (total is not None and size > total) or not zipfile.is_zipfile(part):
        part.unlink()
        raise _InvalidResponseError("the response is not the zip archive")


def _read_image_list(path: Path, split: str) -> list[CocoPhoto]:
    """Read the image list of a split from the annotation archive; delete a damaged archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            # Both files hold the same image list; that of the captions is a fifth of the size.
            names = [f"annotations/{kind}_{split}.json" for kind in ("captions", "instances")]
            name = next((name for name in names if name in archive.namelist()), None)
            if name is None:
                raise ValueError(f"it has neither {names[0]} nor {names[1]}")
            content = json.loads(archive.read(name))
        photos = [
            CocoPhoto(str(i["file_name"]), int(i["width"]), int(i["height"]))
            for i in content["images"]
        ]
        for photo in photos:
            if not _FILE_NAME.fullmatch(photo.file_name):
                raise ValueError(f"it lists {photo.file_name!r}, which is not a plain file name")
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, TypeError) as error:
        path.unlink()
        raise DataError(
            f"{path} is damaged or not the COCO annotation archive ({error}); it was deleted: run "
            "the same command again to download it"
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot read {path} ({error.strerror or error}); make it readable or delete it, and "
            "run the same command again"
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
    """Download photos in parallel from `url/file_name` to `folder/file_name`."""
    count, consecutive_failures, first_failure = 0, 0, ""
    pool = ThreadPoolExecutor(workers)
    try:
        jobs = {pool.submit(_fetch_photo, session, url, folder, p): p.file_name for p in chosen}
        with progress_bar(
            total=len(chosen), desc="photos", unit="photo", disable=not progress
        ) as bar:
            for job in as_completed(jobs):
                reason = job.result()
                if reason is None:
                    count, consecutive_failures = count + 1, 0
                    bar.update()
                    continue
                first_failure = first_failure or f"{jobs[job]}: {reason}"
                consecutive_failures += 1
                if consecutive_failures >= MAX_CONSECUTIVE_FAILURES:
                    break
    finally:  # also on Ctrl-C and a full disk
        pool.shutdown(cancel_futures=True)
    if count < len(chosen):
        raise DataError(
            f"{len(chosen) - count} of {len(chosen)} photos could not be downloaded from {url} "
            f"(the first: {first_failure}); the others are in {folder}; {_CONTINUE}"
        )


def _fetch_photo(session: requests.Session, url: str, folder: Path, photo: CocoPhoto) -> str | None:
    """Download a photo unless a valid one exists; return the reason of a failure."""
    path = folder / photo.file_name
    if path.exists() and _find_fault(path, photo) is None:
        return None
    reason = None
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))
        try:
            content = _download(session, f"{url}/{photo.file_name}")
        except _InvalidResponseError as error:
            reason = str(error)
            continue
        except requests.RequestException as error:  # after the retries of the session
            return _describe(error)
        reason = _find_fault(io.BytesIO(content), photo)
        if reason is None:
            try:
                write_atomic(path, content)
            except OSError as error:
                raise _unwritable(path, error) from error
            break
    return reason


def _download(session: requests.Session, url: str) -> bytes:
    """Return the content of a response, if it is as long as its Content-Length."""
    with session.get(url, stream=True, timeout=TIMEOUT_S) as response:
        response.raise_for_status()
        try:
            content = response.content
        except requests.RequestException as error:
            raise _InvalidResponseError(_describe(error)) from error
    length = response.headers.get("Content-Length")
    if length is not None and len(content) != int(length):
        raise _InvalidResponseError(f"received {len(content)} of {length} bytes")
    return content


def _find_fault(file: Path | io.BytesIO, photo: CocoPhoto) -> str | None:
    """Return why a photo is invalid: it cannot be decoded, or does not have the listed size."""
    try:
        with Image.open(file) as image:
            if image.size != (photo.width, photo.height):
                expected = f"{photo.width} x {photo.height}"
                return f"it has {image.width} x {image.height} px, but the list says {expected}"
            # Decoding at an eighth of the size reads the whole JPEG in much less time.
            image.draft("RGB", (image.width // 8, image.height // 8))
            image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"it cannot be decoded ({error})"
    return None
