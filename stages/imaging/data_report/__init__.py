"""Data reports: a page of counts, distributions and pictures of what a stage made, to check before training."""
