"""Files: one reader per file type, bad rows, one schema, and writers."""
