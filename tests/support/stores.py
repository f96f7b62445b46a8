"""An object store for tests."""

from collections.abc import Iterator
from typing import Any

import pytest


def serve() -> Iterator[Any]:
    """Yield an object store on this computer, configured by environment variables."""
    s3fs = pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    moto_server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.delenv("AWS_PROFILE", raising=False)
        s3fs.S3FileSystem.clear_instance_cache()  # of the store of another module
        yield s3fs.S3FileSystem(use_listings_cache=False, skip_instance_cache=True)
    s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


def new_bucket(store: Any, name: str) -> str:
    """Make a bucket with versioning, named after a test."""
    bucket = f"b{abs(hash(name))}"
    store.mkdir(bucket)
    store.call_s3(
        "put_bucket_versioning", Bucket=bucket, VersioningConfiguration={"Status": "Enabled"}
    )
    return bucket


def count_versions(store: Any, bucket: str, prefix: str = "") -> dict[str, int]:
    """Return how often each object was written."""
    counts: dict[str, int] = {}
    answer = store.call_s3("list_object_versions", Bucket=bucket, Prefix=prefix)
    for entry in answer.get("Versions", []):
        counts[entry["Key"]] = counts.get(entry["Key"], 0) + 1
    return counts
