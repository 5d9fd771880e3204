"""Use of models: the commands, the HTTP server, the Python interface, and the model that MLflow loads."""
