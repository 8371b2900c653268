"""What all tests share."""

from hypothesis import settings

# Two cores shared with other work: a slow example is no failure.
settings.register_profile("trainproof", deadline=None)
settings.load_profile("trainproof")
