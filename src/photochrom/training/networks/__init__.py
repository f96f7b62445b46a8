"""Networks: `generators.GENERATORS`, `discriminators.DISCRIMINATORS`, and pretrained `encoders`."""
