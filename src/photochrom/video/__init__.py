"""Films: every frame in colour by the same `Colorizer`, sound and subtitles as they are.

`source.py` opens a film and turns frames into photos. `analysis.py` reads it once and finds its
scenes (`cuts.py`). `segment.py` colorizes some seconds, with colours smoothed over time
(`smoothing.py`). `codecs.py` lists the encoders, `checkpoint.py` keeps finished segments,
`muxing.py` joins them with the other tracks, and `pipeline.py` runs it all: `photochrom video`.
"""
