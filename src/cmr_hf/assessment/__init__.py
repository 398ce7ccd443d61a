"""A whole study through all models: one call, one result, its report."""

from .assessing import assess, assess_study
from .measuring import Subject
from .models import ROLES, Models
from .results import StackAssessment, StudyAssessment

__all__ = ["ROLES", "Models", "StackAssessment", "StudyAssessment", "Subject", "assess", "assess_study"]
