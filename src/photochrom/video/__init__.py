"""Videos: every frame is colorized by the same `Colorizer`; other streams are copied.

`source.py` reads a video and converts frames to photos. `analysis.py` reads it once, finds its
cuts (`cuts.py`) and splits it into segments. `hints.py` finds for which frames a hint is.
`segment.py` colorizes a segment, with temporal smoothing (`smoothing.py`). `codecs.py` lists the
encoders, `checkpoint.py` stores finished segments, `muxing.py` joins them with the other streams,
and `pipeline.py` runs all of it.
"""
