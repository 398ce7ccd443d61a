"""Images of many hearts, at 1 mm, in files that stream: written by `training/prepare.py`, read to pretrain."""

from .records import Record
from .shard_set import ShardError, ShardSet
from .stream import ShardStream
from .writer import ShardWriter

__all__ = ["Record", "ShardError", "ShardSet", "ShardStream", "ShardWriter"]
