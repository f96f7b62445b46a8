"""Training and measuring colorization networks: needs the extra `photochrom[darkroom]`."""
