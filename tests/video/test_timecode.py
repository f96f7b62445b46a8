from fractions import Fraction

import pytest

from photochrom.video.reading.timecode import advance_timecode

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("text", "frames", "rate", "expected"),
    [
        ("01:00:00:00", 0, Fraction(25), "01:00:00:00"),
        ("01:00:00:00", 3, Fraction(29), "01:00:00:03"),
        ("00:59:59:20", 10, Fraction(24000, 1001), "01:00:00:06"),
        ("23:59:59:24", 1, Fraction(25), "00:00:00:00"),
        ("00:00:59:29", 1, NTSC, "00:01:00:00"),
        ("00:00:59;29", 1, NTSC, "00:01:00;02"),
        ("00:01:00;02", 1, NTSC, "00:01:00;03"),
        ("00:09:59;29", 1, NTSC, "00:10:00;00"),
        ("00:00:00;00", 17982, NTSC, "00:10:00;00"),
        ("00:00:00;00", 107892, NTSC, "01:00:00;00"),
        ("00:00:59;59", 1, 2 * NTSC, "00:01:00;04"),
        ("10:00:59.24", 1, Fraction(25), "10:01:00.00"),
        ("10:00:59;23", 1, Fraction(24000, 1001), "10:01:00;00"),
        ("reel 5", 10, NTSC, "reel 5"),
    ],
)
def test_the_timecode_of_a_later_frame(text: str, frames: int, rate: Fraction, expected: str):
    assert advance_timecode(text, frames, rate) == expected


def test_numbers_of_frames_ascend_without_those_left_out():
    codes = [advance_timecode("00:00:00;00", index, NTSC) for index in range(0, 40_000)]
    assert codes == sorted({*codes})
    assert not any(code[6:] in ("00;00", "00;01") and code[4] != "0" for code in codes)
