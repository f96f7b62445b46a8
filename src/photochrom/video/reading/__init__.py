"""Read a film or numbered pictures: properties, frames, times, fields and damage."""
