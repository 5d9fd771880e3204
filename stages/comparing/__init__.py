"""Scores as people read them, and how sure a comparison is: what the report marks, what a promotion rests on."""
