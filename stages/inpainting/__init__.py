"""How a trained model is used: the contract of `model.pt2`, and the classical methods beside it."""
