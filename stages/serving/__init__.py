"""What people use: the model as MLflow serves it."""
