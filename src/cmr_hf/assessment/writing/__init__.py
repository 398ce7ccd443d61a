"""The files of an assessment: JSON, masks, DICOM SEG, pictures and a report."""

from .files import write_all

__all__ = ["write_all"]
