"""The step proof as it is specified: k iterations of exact training proven by sumcheck (docs/identities.md).

A protocol with polynomial evaluation as its oracle instead of a commitment, for tiny nets: ``proof.prove`` and
``proof.verify``; ``witness`` makes the committed columns, ``direct`` checks them cell by cell without any protocol,
``perturb`` makes witnesses that must be rejected.
"""
