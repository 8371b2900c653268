"""Networks, real data and measurements: what the examples train and what ``trainproof bench`` times."""
