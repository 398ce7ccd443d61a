"""From label maps to what a clinician reads: areas, volumes, ejection fraction, mass, figures and files.

Every figure is a `Measure`: a value with its standard deviation and 95 % interval, or a refusal with its reason.
`docs/measures.md` says how each is computed and when it is refused.
"""

from .atria import AtrialFunction, atrial_function
from .curves import Curve, Phases, find_phases, volume_curve
from .function import VentricularFunction, body_surface_area, ventricular_function
from .mapping import Distribution, extracellular_volume, segment_values
from .normal_ranges import NormalRange, compared, normal_ranges
from .quality import Finding, quality_findings
from .quantities import Measure, combine
from .risk import RiskCoverage, risk_coverage
from .scar import Scar, late_enhancement
from .segments import SEGMENTS, Extent, SegmentMap, aha_segments, segment_table
from .stacks import Stack
from .thickness import wall_thickening, wall_thickness
from .volumes import CineMeasures, measure

__all__ = [
    "SEGMENTS",
    "AtrialFunction",
    "CineMeasures",
    "Curve",
    "Distribution",
    "Extent",
    "Finding",
    "Measure",
    "NormalRange",
    "Phases",
    "RiskCoverage",
    "Scar",
    "SegmentMap",
    "Stack",
    "VentricularFunction",
    "aha_segments",
    "atrial_function",
    "body_surface_area",
    "combine",
    "compared",
    "extracellular_volume",
    "find_phases",
    "late_enhancement",
    "measure",
    "normal_ranges",
    "quality_findings",
    "risk_coverage",
    "segment_table",
    "segment_values",
    "ventricular_function",
    "volume_curve",
    "wall_thickening",
    "wall_thickness",
]
