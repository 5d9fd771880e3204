"""How sure a comparison is: what the report marks and what a promotion rests on."""
