"""Training and measuring colorization networks: needs the extra `photochrom[train]`."""
