"""Adversarial losses, terms of the generator's loss, and regularizers of the discriminator."""
