"""What a teacher gives a training."""
