"""How holes come about: drawn (random, gives a description) and painted (pure, description and shape to a hole)."""
