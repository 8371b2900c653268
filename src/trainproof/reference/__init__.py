"""Slow, obvious twins of every fast path: the tests' oracle, and the formats as a running specification.

Plain Python, one to one with docs/hashing.md. Nothing else in the package uses it.
"""
