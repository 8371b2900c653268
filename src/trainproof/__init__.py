"""Prove how a PyTorch model was trained."""

__version__ = "0.1.0"
