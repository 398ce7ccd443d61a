"""Tasks, losses, metrics and the trainer that turn the encoder into a model for one task."""
