"""Published attacks on proof-of-learning, one runnable module each, and the check that must stop it."""
