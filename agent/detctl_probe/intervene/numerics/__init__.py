"""Interventions on numerics: deterministic kernels, threads, precision, attention."""
