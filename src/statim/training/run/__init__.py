"""A run from its data to its last step: what is read, held out, evaluated and written down."""
