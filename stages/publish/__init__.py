"""The last stage: MLflow brought up to date with what the pipeline holds."""
