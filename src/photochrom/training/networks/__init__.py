"""Generators, discriminators and feature networks.

Contract of a generator, tested for every entry of `photochrom.training.recipes.kinds.GENERATORS`: a
class that is called with the channels of the output and its settings. It maps `L` (B, 1, H, W) in
[-1, 1] to the prediction of an output (`outputs.py`), of the same size or a whole fraction of it,
for any H, W >= 16. It pads the input by reflection and crops the output where its layers need a
certain size. With the setting `hints` it takes hints (B, 3, H, W) as an optional second argument
(see `photochrom.training.data.hints`).

Contract of a discriminator, tested for every entry of `DISCRIMINATORS`: it maps `L` (B, 1, H, W)
and `photo` (B, 3, H, W), real or generated, Lab or RGB, both in [-1, 1] and H, W >= 32, to logits:
(B, 1, h, w) per patch, (B, S, h, w) per patch at S scales, or (B, 1) per photo. A discriminator
with the setting `networks` takes the features of one of these feature networks (`features.py`) and
its index instead of `photo`.
"""
