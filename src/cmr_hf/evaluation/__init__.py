"""Measuring: metrics, intervals and tests by patient, the paper's tables, and a user's own cohort.

Needs nothing beyond the core dependencies; only `metrics`, the same formulas as `evaluate` modules, needs
`pip install cmr_hf[train]`.
"""
