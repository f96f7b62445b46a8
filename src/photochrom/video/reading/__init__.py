"""Read a video or an image sequence: properties, frames, times, fields and damage."""
