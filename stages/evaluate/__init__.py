"""Evaluation: one method's answers on the fixed pairs of test tile and hole, scored pair by pair."""
