"""What the two trainings share: batches, the trainer, resuming, exporting."""
