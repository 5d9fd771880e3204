"""The report: all evaluations and trainings as one page that opens anywhere, and its tables and pictures as files."""
