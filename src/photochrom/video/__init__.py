"""Videos: the frames of a shot share their colours; other streams are copied.

`reading` opens a video or an image sequence, and corrects faults of frames and their times.
`shots` finds the shots of a video and what is known of them, and splits them into segments.
`writing` encodes frames and joins them with the other streams. `colors` learns the colours of each
shot, colorizes its segments in processes, and keeps what is done. `outputs.py` checks and writes
the output, and `pipeline.py` runs all of it.
"""
