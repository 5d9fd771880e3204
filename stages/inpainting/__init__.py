"""Filling holes: model files, classical methods, and photographs of any size."""
