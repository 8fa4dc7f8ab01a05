"""Work over shards: the same code in this process, or on a Ray cluster.

A shard is a file. What is done with one does not depend on the others, so a runner (``runners.py``) maps a
job over shards, here or on Ray, and the bytes are the same.
"""

from statim.scale.encode import EncodedShards, encode_shards
from statim.scale.index import index_shards

__all__ = ["EncodedShards", "encode_shards", "index_shards"]
