"""A folder, zip or DICOMDIR of DICOM -> stacks in patient space; what was left out and why."""

from .opinions import Opinion
from .patient import PatientFacts
from .relations import Relation
from .stacks import Gap, Stack
from .study import FileEntry, Study, read_studies, read_study

__all__ = [
    "FileEntry",
    "Gap",
    "Opinion",
    "PatientFacts",
    "Relation",
    "Stack",
    "Study",
    "read_studies",
    "read_study",
]
