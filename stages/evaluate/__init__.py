"""Scores one method on fixed pairs of test tile and hole, and on whole photographs."""
