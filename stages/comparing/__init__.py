"""Scores with their labels and units, and confidence intervals: used by the report and by promotion."""
