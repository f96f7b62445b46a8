"""The files that the page takes from a dropped folder."""

import re

from photochrom.batch.folders import SUFFIXES
from photochrom.web.template import STATIC


def test_suffixes_of_photos_are_those_of_the_command_line():
    script = (STATIC / "file_input.js").read_text()
    match = re.search(r"const SUFFIXES =((?:\s+\"[a-z0-9 ]+\" ?\+?)+);", script)
    assert match
    suffixes = " ".join(re.findall('"(.+)"', match[1])).split()
    assert sorted(suffixes) == sorted(suffix[1:] for suffix in SUFFIXES)
