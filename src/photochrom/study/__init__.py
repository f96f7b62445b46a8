"""Perceptual studies: participants tell real photos from generated ones, or compare systems.

`creation` writes a study (`design`). `app` presents the trials drawn by `trials` and saves the
responses (`answers`) in `store`. `report` applies `exclusion`, `analysis` and `statistics`, and
writes the `results`.
"""
