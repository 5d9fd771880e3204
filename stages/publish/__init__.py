"""The last stage: updates MLflow from the outputs of the pipeline."""
