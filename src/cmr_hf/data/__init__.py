"""Public data sets and a user's own, in one form, split by patient."""

from .checking import DataReport, check_stacks
from .leakage import Leak, check_leakage
from .loading import load, sides_of, stacks_by_side
from .readers import READERS
from .schema import LabelledStack, features, rows_of, stacks_of

__all__ = [
    "READERS",
    "DataReport",
    "LabelledStack",
    "Leak",
    "check_leakage",
    "check_stacks",
    "features",
    "load",
    "rows_of",
    "sides_of",
    "stacks_by_side",
    "stacks_of",
]
