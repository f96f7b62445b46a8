"""SMPTE timecodes, as of SMPTE ST 12-1."""

import re
from fractions import Fraction

_FORM = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d)", re.ASCII)


def advance_timecode(text: str, frames: int, rate: Fraction) -> str:
    """Return the timecode of a later frame, the text itself if it is no timecode.

    With a semicolon or a dot before the frames, at 30 frames per second or a multiple, two numbers
    of 30 are left out in each minute that is no multiple of ten (drop-frame).

    Args:
        text: As `hh:mm:ss:ff`.
        frames: Number of frames.
        rate: Frames per second.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        return text
    per_second = round(rate)
    # ST 12-1 has drop-frame at 30 and 60 frames per second only, whatever the text has.
    left_out = 0 if match[4] == ":" or per_second % 30 else per_second // 15
    hour, minute, second, frame = (int(match[group]) for group in (1, 2, 3, 5))
    minutes = 60 * hour + minute
    number = (60 * minutes + second) * per_second + frame - left_out * (minutes - minutes // 10)
    tens, rest = divmod(number + frames, 600 * per_second - 9 * left_out)
    minutes_in_ten = max(0, rest - left_out) // (60 * per_second - left_out)
    numbered = number + frames + left_out * (9 * tens + minutes_in_ten)
    seconds, frame = divmod(numbered, per_second)
    minutes, second = divmod(seconds, 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour % 24:02}:{minute:02}:{second:02}{match[4]}{frame:02}"
