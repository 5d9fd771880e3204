"""What all trainings share: batches, the loop, checkpoints, records, export."""
