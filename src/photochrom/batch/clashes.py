"""Find outputs that would replace another output or a photo."""

import contextlib
import unicodedata
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path

from photochrom.batch.locations import is_link, is_url


def find_clashes(pairs: Sequence[tuple[str, str]], resolve: Callable[[str], str]) -> dict[str, str]:
    """Return the photos that cannot be colorized, with the reason.

    Args:
        pairs: Of photo and output, paths or URLs.
        resolve: Returns the absolute form of a location, the same for all ways to write it.
    """
    outputs = [resolve(output) for _, output in pairs]
    photos = {resolve(photo): photo for photo, _ in pairs}
    # The target of a link is a photo as well, even if it is not named.
    photos |= {str(Path(photo).resolve()): photo for photo, _ in pairs if is_link(photo)}
    fold = _new_fold({*outputs, *photos})
    photos = {fold(path): photo for path, photo in photos.items()}
    groups: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for pair, output in zip(pairs, outputs, strict=True):
        groups[fold(output)].append(pair)
    clashes: dict[str, str] = {}
    for output, group in groups.items():
        names = [photo for photo, _ in group]
        for photo, written in group:
            if len(group) > 1:
                listed = f"{', '.join(names[:-1])} and {names[-1]}"
                clashes[photo] = (
                    f"{listed} would {'both' if len(group) == 2 else 'all'} become {written}; "
                    "rename one or colorize them separately"
                )
            elif output in photos:
                clashes[photo] = (
                    f"{photos[output]} is an input and would be replaced by a result; give another "
                    "folder for the results"
                )
    return clashes


def _new_fold(paths: Iterable[str]) -> Callable[[str], str]:
    """Return a function that maps paths which a file system takes for one to the same text.

    The disk is tested only if two paths differ in upper and lower case or in their Unicode form
    alone.
    """
    counts = Counter(map(_fold_all, paths))
    get_rule = cache(find_name_rule)

    def fold(path: str) -> str:
        if is_url(path) or counts[_fold_all(path)] < 2:
            return path
        return get_rule(Path(path).parent)(path)

    return fold


def _fold_all(path: str) -> str:
    return _fold_form(path).casefold()


def _fold_form(path: str) -> str:
    return unicodedata.normalize("NFC", path)


def find_name_rule(folder: Path) -> Callable[[str], str]:
    """Return a function that maps names which are the same in a folder to the same text.

    The file system is asked with a hidden file, in the folder or the first of its parents that
    exists. If none can be written there, all names differ.
    """
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    probe = folder / f".photochrom-{uuid.uuid4().hex}-\N{LATIN SMALL LETTER E WITH ACUTE}.tmp"
    ignores_case = ignores_form = False
    try:
        probe.touch(exist_ok=False)
        ignores_case = probe.with_name(probe.name.replace("photochrom", "PHOTOCHROM")).exists()
        ignores_form = probe.with_name(unicodedata.normalize("NFD", probe.name)).exists()
    except OSError:
        pass
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)
    if ignores_case and ignores_form:
        return _fold_all
    if ignores_case:
        return str.casefold
    return _fold_form if ignores_form else str
