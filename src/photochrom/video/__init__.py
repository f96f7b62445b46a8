"""Videos: every frame is colorized by the same `Colorizer`; other streams are copied.

`source.py` reads a video and converts frames to photos; `sequences.py` reads and writes numbered
pictures (`dpx.py`: DPX). `analysis.py` reads it once, or a part of it (`parts.py`, `time_span.py`),
and finds its cuts (`cuts.py`), between which are its shots (`shots.py`). `shot_list.py` stores
these in a file to be edited. `hints.py` finds for which frames a hint is, `references.py` reads
frames in colour, and `planning.py` joins all of it.
`sheet.py` makes contact sheets. `splitting.py` splits shots into segments.
`scheduling.py` runs the tasks of `segment.py` in processes: to learn the colours of a shot
(`shot_colors.py`, along the motion of `motion.py`), and to colorize a segment. `codecs.py` lists
the encoders, `container_check.py` tries what an output can hold, `checkpoint.py` stores finished
segments, `muxing.py` joins them with the other streams, and `pipeline.py` runs all of it.
`timestamps.py` mends the times of frames, and `damage.py` describes damage.
"""
