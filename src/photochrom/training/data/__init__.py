"""Training data: prepared data sets, degradation, simulated hints."""
