"""The checks, one file each, in the order in which a verification runs them (docs/verification.md, section 2)."""

from trainproof.verification.checks.v00_parse import v00_parse
from trainproof.verification.checks.v01_signature import v01_signature
from trainproof.verification.checks.v02_recipe import v02_declared, v02_recipe, v02_replayed
from trainproof.verification.checks.v03_initial import v03_hidden, v03_initial
from trainproof.verification.checks.v04_data import v04_order, v04_replayed
from trainproof.verification.checks.v05_continuity import v05_continuity
from trainproof.verification.checks.v06_parameters import v06_parameters
from trainproof.verification.checks.v07_state import v07_state
from trainproof.verification.checks.v08_updates import v08_replayed, v08_updates
from trainproof.verification.checks.v10_path import v10_path
from trainproof.verification.checks.v11_loss import v11_replayed, v11_spikes
from trainproof.verification.checks.v13_final import v13_final
from trainproof.verification.checks.v14_exact import v14_exact, v14_replayed, v14_states

BEFORE = (v00_parse, v01_signature, v05_continuity, v02_recipe)
"""On the whole record, before anything is run: structure, signature, chain, recipe and bounds."""

REBUILT = (v14_exact, v02_declared, v03_initial, v03_hidden)
"""On what the verifier's copy of the recipe builds before it trains. V14 is for records of exact training only."""

WHOLE = (v04_order, v14_states, v08_updates, v10_path, v11_spikes)
"""Cheap tests on the whole record; they decide, or mark units that must be replayed."""

REPLAYED = (v04_replayed, v02_replayed, v14_replayed, v06_parameters, v07_state, v11_replayed, v08_replayed)
"""On the replayed units: causes before effects, so that a forged batch is called that, not a wrong weight, and weights
that nobody trained are called that, not the losses that they would have had.
"""

FINAL = (v13_final,)
"""On the end of the record."""

__all__ = ["BEFORE", "FINAL", "REBUILT", "REPLAYED", "WHOLE"]
