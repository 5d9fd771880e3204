"""The report: one page that compares all methods and trainings, with its tables and pictures as files."""
