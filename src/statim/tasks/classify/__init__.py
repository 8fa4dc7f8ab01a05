"""Classification: the Classifier, its inputs (inputs.py, ngrams.py), heads and how they are fitted, chosen, calibrated and judged."""
