"""The files that `photochrom site` writes; the bundle here is not the real one."""

import hashlib
import importlib.util
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from photochrom.cli import main
from photochrom.errors import DataError, ModelError
from photochrom.site import files as site_files
from photochrom.site import writing
from photochrom.site.writing import write_site
from support.models import write_model

BUNDLE = ["page.js", "worker.js", "start.js", "ort.js", "ort.wasm.gzip", "service_worker.js"]
ICONS = [f"{name}-{size}.png" for name in ("icon", "icon-maskable") for size in (192, 512)]


@pytest.fixture(autouse=True)
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    for name in [*BUNDLE, *ICONS, "licenses.txt"]:
        (folder / name).write_text(f"content of {name}")
    monkeypatch.setattr(site_files, "BUNDLE", folder)
    return folder


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    write_model(path, hints=3, name="tiny", size="64")
    return path


@pytest.fixture
def write(tmp_path: Path, model: Path) -> Callable[[], Path]:
    """A function that writes the site of the model, and returns its folder."""

    def write() -> Path:
        write_site(tmp_path / "site", model)
        return tmp_path / "site"

    return write


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["site", *map(str, arguments)])


def read_all(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read_constants(folder: Path) -> tuple[str, dict[str, str]]:
    """Return VERSION and FILES of the service worker."""
    version, files = (folder / "service_worker.js").read_text().split("\n")[:2]
    constants = [line.partition(" = ")[2].removesuffix(";") for line in (version, files)]
    return json.loads(constants[0]), json.loads(constants[1])


class Elements(HTMLParser):
    """The start tags of a page, as pairs of name and attributes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.all: list[tuple[str, dict[str, str]]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.all.append((tag, {name: value or "" for name, value in attrs}))


def test_command_writes_a_page_for_each_language(tmp_path: Path, model: Path):
    result = run(tmp_path / "site", "--model", model)
    assert (result.exit_code, result.output) == (0, f"Wrote {tmp_path / 'site'}.\n")
    for name, title in (("index", "black-and-white photos"), ("de", "Schwarz-Weiß-Fotos")):
        html = (tmp_path / f"site/{name}.html").read_text("utf-8")
        assert f'<html lang="{"en" if name == "index" else name}">' in html
        assert title in html
        assert 'data-engine="browser"' in html
        assert 'data-model="tiny"' in html
    assert (tmp_path / "site/static/model.onnx").read_bytes() == model.read_bytes()


def test_default_model(tmp_path: Path):
    write_site(tmp_path / "site")
    default = site_files.default_model_path()
    assert (tmp_path / "site/static/model.onnx").read_bytes() == default.read_bytes()


def test_pages_refer_to_files_of_the_site(write: Callable[[], Path]):
    folder = write()
    for page in ("index.html", "de.html"):
        elements = Elements((folder / page).read_text("utf-8")).all
        addresses = {
            attributes[name]
            for _, attributes in elements
            for name in ("src", "href")
            if name in attributes
        }
        body = next(attributes for tag, attributes in elements if tag == "body")
        engine = json.loads(body["data-files"])
        assert engine.keys() == {"worker", "runtime", "model"}
        urls = {part["url"] for part in engine.values()}
        assert urls.isdisjoint(addresses)
        addresses |= urls
        for part in engine.values():
            assert part["bytes"] == (folder / part["url"].partition("?")[0]).stat().st_size
        assert len(addresses) > 15
        for address in addresses:
            path, _, query = address.partition("?")
            content = (folder / path).read_bytes()
            if query.startswith("v="):
                assert query == f"v={hashlib.sha256(content).hexdigest()}"
    manifest = json.loads((folder / "photochrom.webmanifest").read_text())
    assert {icon["src"] for icon in manifest["icons"]} == {f"static/{name}" for name in ICONS}
    assert {icon["purpose"] for icon in manifest["icons"]} == {"any", "maskable"}
    assert all((folder / icon["src"]).is_file() for icon in manifest["icons"])


def test_pages_keep_to_their_content_security_policy(write: Callable[[], Path]):
    for page in ("index.html", "de.html"):
        elements = Elements((write() / page).read_text("utf-8")).all
        policies = [
            attributes["content"]
            for tag, attributes in elements
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        ]
        assert len(policies) == 1
        assert policies[0].startswith("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';")
        assert "unsafe-inline" not in policies[0]
        for tag, attributes in elements:
            assert tag != "style"
            assert not [name for name in attributes if name == "style" or name.startswith("on")]
            assert tag != "script" or "src" in attributes or attributes["type"].endswith("json")


def test_languages_lead_to_each_other(write: Callable[[], Path]):
    folder = write()
    for page in ("index.html", "de.html"):
        html = (folder / page).read_text("utf-8")
        assert '<link rel="alternate" hreflang="en" href="index.html">' in html
        assert '<link rel="alternate" hreflang="de" href="de.html">' in html
        assert '<a href="index.html?lang=en" lang="en"' in html
        assert '<a href="de.html?lang=de" lang="de"' in html
        assert 'href="api"' not in html


def test_service_worker_has_every_file_with_its_hash(write: Callable[[], Path]):
    folder = write()
    _, files = read_constants(folder)
    contents = read_all(folder)
    script = contents.pop("service_worker.js").decode()
    del contents["photochrom-site.json"]
    assert files == {path: hashlib.sha256(c).hexdigest() for path, c in contents.items()}
    assert script.endswith("content of service_worker.js")


def test_version_changes_with_a_file(write: Callable[[], Path], bundle: Path):
    first, _ = read_constants(write())
    again, _ = read_constants(write())
    (bundle / "worker.js").write_text("new")
    changed, _ = read_constants(write())
    assert first == again != changed


def test_former_site_is_replaced_and_other_files_are_kept(write: Callable[[], Path], bundle: Path):
    folder = write()
    (folder / "CNAME").write_text("photos.example.org")
    (bundle / "ort.js").write_text("new")
    (bundle / "start.js").rename(bundle / "new.js")
    (bundle / "start.js").write_text("new")
    write()
    assert (folder / "static/new.js").is_file()
    (bundle / "new.js").unlink()
    write()
    assert not (folder / "static/new.js").exists()
    assert (folder / "static/ort.js").read_text() == "new"
    assert (folder / "CNAME").read_text() == "photos.example.org"


def test_empty_folder_is_filled(write: Callable[[], Path], tmp_path: Path):
    (tmp_path / "site").mkdir()
    assert (write() / "index.html").is_file()


@pytest.mark.parametrize(
    "listing", [None, "", "[]", "{}", '{"files": 1}', '{"files": [1]}', "\udcff"]
)
def test_folder_with_something_else_is_refused(tmp_path: Path, model: Path, listing: str | None):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "index.html").write_text("mine")
    if listing is not None:
        content = listing.encode(errors="surrogateescape")
        (folder / "photochrom-site.json").write_bytes(content)
    before = read_all(folder)
    result = run(folder, "--model", model)
    message = "is not empty and holds no site of photochrom; give a new folder"
    assert result.exit_code == 1
    assert result.output == f"Error: {folder} {message}\n"
    assert read_all(folder) == before


def test_file_is_refused(tmp_path: Path, model: Path):
    (tmp_path / "file").write_text("mine")
    result = run(tmp_path / "file", "--model", model)
    assert result.output == f"Error: {tmp_path / 'file'} is a file; give a folder for the site\n"
    assert (tmp_path / "file").read_text() == "mine"


def test_listing_cannot_name_files_outside(write: Callable[[], Path], tmp_path: Path):
    folder = write()
    (tmp_path / "mine").write_text("mine")
    path = folder / "photochrom-site.json"
    listing = json.loads(path.read_text())
    listing["files"] += ["../mine", str(tmp_path / "mine")]
    path.write_text(json.dumps(listing))
    write()
    assert (tmp_path / "mine").read_text() == "mine"


def test_nothing_is_left_if_writing_fails(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
):
    before = read_all(tmp_path)
    write_atomic = writing.write_atomic

    def fail(path: Path, content: bytes) -> None:
        if path.name == "de.html":
            raise OSError(28, "No space left on device", str(path))
        write_atomic(path, content)

    monkeypatch.setattr(writing, "write_atomic", fail)
    with pytest.raises(OSError, match="No space left"):
        write_site(tmp_path / "site", model)
    assert read_all(tmp_path) == before


def test_service_worker_comes_after_the_files_that_it_needs(model: Path):
    assert list(site_files.make_files(model))[-2:] == ["service_worker.js", "photochrom-site.json"]


def test_no_model(tmp_path: Path):
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(ModelError, match=r"text\.onnx is not an ONNX model"):
        write_site(tmp_path / "site", tmp_path / "text.onnx")
    with pytest.raises(ModelError, match="there is no model file"):
        write_site(tmp_path / "site", tmp_path / "missing.onnx")
    assert not (tmp_path / "site").exists()


def test_folder_that_cannot_be_made(tmp_path: Path, model: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot make folder"):
        write_site(tmp_path / "file/site", model)


def test_without_the_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(site_files, "BUNDLE", tmp_path / "missing")
    result = run(tmp_path / "site")
    assert result.exit_code == 1
    assert "not built" in result.output
    assert "cd site && npm install && npm run build" in result.output
    assert not (tmp_path / "site").exists()


def test_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "jinja2" else find_spec(name)
    )
    result = run(tmp_path / "site")
    message = "this command needs jinja2; run `pip install 'photochrom[web]'`"
    assert (result.exit_code, result.output) == (1, f"Error: {message}\n")


def test_licences_are_text_of_utf_8_on_every_host(write: Callable[[], Path]):
    content = (write() / "licenses.txt").read_bytes()
    assert content.startswith(b"\xef\xbb\xbfcontent of licenses.txt\n")
    assert b"protocolbuffers/protobuf" in content  # in ONNX Runtime


def test_texts_are_those_of_the_site(write: Callable[[], Path]):
    html = (write() / "index.html").read_text("utf-8")
    texts = re.search(r'id="texts">(.*?)</script>', html)
    assert texts is not None
    assert json.loads(texts[1])["status.uploaded"] == "Opening"
