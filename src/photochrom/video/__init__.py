"""Films: every frame in colour by the same `Colorizer`, sound and subtitles as they are.

`source.py` opens a film and turns frames into photos, `learning.py` goes through it once and finds
its scenes (`cuts.py`), `segment.py` colours a few seconds, with colours that `steadying.py` keeps
still, `codecs.py` says how they are encoded, `folder.py` keeps what is done, `joining.py` makes one
film of it, and `whole.py` does it all: `photochrom video`.
"""
