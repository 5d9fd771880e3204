"""What is fast is measured here, never asserted: `make bench`."""
