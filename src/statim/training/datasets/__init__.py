"""What is trained on: texts as bags, and the batches that a step sees."""
