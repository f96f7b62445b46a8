"""Where the photos of data sets come from: the commands of `photochrom data`."""

from photochrom.training.data.sources.coco import COCO
from photochrom.training.data.sources.folder import FOLDER
from photochrom.training.data.sources.source import Source

SOURCES: dict[str, Source] = {"folder": FOLDER, "coco": COCO}
