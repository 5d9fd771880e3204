"""A look at what a stage made, before anything trains on it: one page of counts, distributions and pictures."""
