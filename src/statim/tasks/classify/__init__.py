"""Classification: Classifier, inputs, heads, and how they are fitted, chosen, calibrated and judged."""
