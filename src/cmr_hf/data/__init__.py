"""Public data sets and a user's own, in one form, split by patient."""
