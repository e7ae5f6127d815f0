"""What all trained models share: the loop, its checkpoints, logs and snapshots."""
