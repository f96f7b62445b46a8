"""Cut packets and chapters of a source to the part of it that is colorized."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from av.packet import Packet

from photochrom.video.reading.source import Video
from photochrom.video.shots.analysis import VideoAnalysis

_INTERLEAVING = 10
"""Seconds by which packets of one time lie apart in a file at most."""


@dataclass(frozen=True)
class TimeSpan:
    """A part of a source, which begins at 0 in the output. Times are in seconds of the source."""

    start: Fraction
    end: Fraction

    def cut_packet(self, packet: "Packet[Any]") -> bool:
        """Give a packet its time in the output, and return whether it lies there.

        A subtitle is kept if it is shown in the part, and for this time. Other packets are kept if
        they begin in it, and covers always.
        """
        stream, unit = packet.stream, Fraction(packet.time_base)
        if stream.type == "video" and stream.disposition & stream.disposition.attached_pic:
            return True
        stamp = packet.dts if packet.pts is None else packet.pts
        if stamp is None:
            return False
        if stream.type == "subtitle" and packet.duration:
            first = max(stamp, round(self.start / unit))
            packet.duration = min(stamp + packet.duration, round(self.end / unit)) - first
            packet.pts = packet.dts = first - round(self.start / unit)
            return packet.duration > 0
        if not self.start <= stamp * unit < self.end:
            return False
        packet.pts = stamp - round(self.start / unit)
        packet.dts = None if packet.dts is None else packet.dts - round(self.start / unit)
        return True

    def is_past(self, packet: "Packet[Any]") -> bool:
        """Return whether no packet of a stream without pauses lies in the part after this one."""
        if packet.dts is None or packet.stream.type not in ("audio", "video"):
            return False
        return bool(packet.dts * Fraction(packet.time_base) > self.end + _INTERLEAVING)

    def cut_chapters(self, chapters: list[Any]) -> list[Any]:
        """Return the chapters that lie in the part, with their times in the output."""
        cut = []
        for chapter in chapters:
            unit = Fraction(chapter["time_base"])
            first, last = round(self.start / unit), round(self.end / unit)
            start, end = max(chapter["start"], first), min(chapter["end"], last)
            if start < end:
                cut.append({**chapter, "start": start - first, "end": end - first})
        return cut


def find_span(video: Video, analysis: VideoAnalysis) -> TimeSpan | None:
    """Return the part of the source that was analysed; None: all of it."""
    if not analysis.is_part:
        return None
    last = analysis.durations[-1] * video.time_base or 1 / video.frame_rate
    return TimeSpan(
        analysis.timestamps[0] * video.time_base, analysis.timestamps[-1] * video.time_base + last
    )
