"""Words that made pairs are made of: every verb with every thing."""

VERBS = [
    "sort", "open", "read", "write", "join", "split", "count", "merge", "copy", "delete", "find", "print",
    "parse", "encode", "decode",
    "train", "load", "save", "close", "draw",
]  # fmt: skip
THINGS = [
    "list", "file", "table", "string", "number", "matrix", "thread", "process", "socket", "queue", "stack",
    "tree", "graph", "tensor",
    "model", "index", "cache", "token", "vector", "query",
]  # fmt: skip
