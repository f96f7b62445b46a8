"""The files of the static site."""

import hashlib
import importlib.util
import json
from codecs import BOM_UTF8
from collections.abc import Iterable
from pathlib import Path

from photochrom.colorize.onnx_model import default_model_path
from photochrom.errors import PhotochromError
from photochrom.version import __version__
from photochrom.web.limits import Limits
from photochrom.web.models import Models
from photochrom.web.template import STATIC, STYLES, create_environment, render_page
from photochrom.web.texts import FALLBACK, Texts, languages

BUNDLE = Path(__file__).with_name("bundle")
"""What `npm run build` in site/ has made."""
LISTING = "photochrom-site.json"
"""Names and hashes of the other files; it tells that a folder holds a site."""
_SERVICE_WORKER = "service_worker.js"
_LICENSES = "licenses.txt"
_IN_ROOT = (_SERVICE_WORKER, _LICENSES)
_WORKER, _RUNTIME, _MODEL = "worker.js", "ort.wasm.gzip", "model.onnx"
_COLORS = {"theme_color": "#f6f3ec", "background_color": "#f6f3ec"}
_POLICY = {
    "default-src": "'none'",
    "script-src": "'self' 'wasm-unsafe-eval'",
    "worker-src": "'self'",
    "connect-src": "'self' blob:",
    "img-src": "'self' blob:",
    "style-src": "'self'",
    "manifest-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
}


def make_files(model: Path | None = None) -> dict[str, bytes]:
    """Return the content of each file by its path, in the order in which they are to be written.

    Each file comes after those that it needs.

    Args:
        model: An ONNX file; None: the default model.

    Raises:
        ModelError: If it is no colorization model.
        PhotochromError: If the bundle is not built.
    """
    if not BUNDLE.is_dir():
        raise PhotochromError(
            "the parts of the site that run in the browser are not built; in the source tree, with "
            "Node.js 20 or later, run `cd site && npm install && npm run build`, then install "
            "photochrom again"
        )
    limits = Limits()
    models = Models([model], device="cpu", max_network_pixels=limits.max_network_pixels)
    bundle = _read(BUNDLE, BUNDLE.iterdir())
    files = {f"static/{name}": content for name, content in bundle.items() if name not in _IN_ROOT}
    shown = [STATIC / f"{name}.css" for name in STYLES]
    shown += [*STATIC.glob("*.svg"), *STATIC.glob("samples/*.jpg")]
    files |= {f"static/{name}": content for name, content in _read(STATIC, shown).items()}
    files[f"static/{_MODEL}"] = (model or default_model_path()).read_bytes()
    files[_LICENSES] = BOM_UTF8 + bundle[_LICENSES] + _runtime_notices()
    files["photochrom.webmanifest"] = _manifest()
    files |= _pages(models, limits.max_bytes, files)
    hashes = {path: _hash(content) for path, content in files.items()}
    files[_SERVICE_WORKER] = _service_worker(bundle[_SERVICE_WORKER], hashes)
    files[LISTING] = _json({"version": __version__, "files": sorted([*files, LISTING])})
    return files


def _read(folder: Path, paths: Iterable[Path]) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(paths)}


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _json(value: object) -> bytes:
    return f"{json.dumps(value, indent=1)}\n".encode()


def _pages(models: Models, max_bytes: int, files: dict[str, bytes]) -> dict[str, bytes]:
    """Return one HTML file for each language.

    Args:
        models: The one model.
        max_bytes: Of one photo.
        files: All others that they refer to.
    """
    environment = create_environment()

    def static(name: str) -> str:
        path = f"static/{name}"
        return f"{path}?v={_hash(files[path])}"

    def address(name: str) -> dict[str, str | int]:
        return {"url": static(name), "bytes": len(files[f"static/{name}"])}

    codes = sorted(languages(), key=lambda code: code != FALLBACK)  # the first page is index.html
    paths = {code: "index.html" if code == FALLBACK else f"{code}.html" for code in codes}
    site = {
        "policy": "; ".join(f"{name} {value}" for name, value in _POLICY.items()),
        "pages": paths,
        "engine_files": {
            "worker": address(_WORKER),
            "runtime": address(_RUNTIME),
            "model": address(_MODEL),
        },
    }
    return {
        path: render_page(
            environment,
            Texts(code, site=True),
            models=models,
            max_bytes=max_bytes,
            static=static,
            site=site,
        ).encode()
        for code, path in paths.items()
    }


def _manifest() -> bytes:
    """Return the web app manifest, by which browsers install the page."""
    icons = [
        {
            "src": f"static/{name}-{size}.png",
            "sizes": f"{size}x{size}",
            "type": "image/png",
            "purpose": purpose,
        }
        for name, purpose in (("icon", "any"), ("icon-maskable", "maskable"))
        for size in (192, 512)
    ]
    names = {"name": "photochrom", "short_name": "photochrom", "start_url": "./"}
    return _json({**names, "display": "standalone", **_COLORS, "icons": icons})


def _service_worker(script: bytes, hashes: dict[str, str]) -> bytes:
    """Return the service worker; another version of the site has another one."""
    constants = {"VERSION": _hash(_json(hashes)), "FILES": hashes}
    lines = [f"const {name} = {json.dumps(value)};\n" for name, value in constants.items()]
    return "".join(lines).encode() + script


def _runtime_notices() -> bytes:
    """Return the notices of the software in ONNX Runtime, as far as its Python package has them."""
    spec = importlib.util.find_spec("onnxruntime")
    assert spec is not None
    assert spec.origin is not None
    notices = Path(spec.origin).with_name("ThirdPartyNotices.txt")
    return b"\n" + notices.read_bytes() if notices.is_file() else b""
