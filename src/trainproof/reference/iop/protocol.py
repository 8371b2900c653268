"""The step proof, in numbered steps (docs/identities.md, 3): run over a proving or a verifying channel.

This is the verifier. Where a message is needed, a function says what the prover sends; a verifying channel never calls
it. Nothing here depends on a secret value: the same statement gives the same messages in the same order.
"""

from __future__ import annotations

from trainproof.reference.iop.blocks import Blocks
from trainproof.reference.iop.channel import Channel, Term
from trainproof.reference.iop.field import Element, inverse
from trainproof.reference.iop.fractions import (
    Slot,
    at_slot,
    fraction_tree,
    leaves,
    multiplicity,
    multiplicity_columns,
    slots,
    whole,
)
from trainproof.reference.iop.identities import SELECTION, Lookup, Zero, committed, families, rows, tag
from trainproof.reference.iop.layout import Statement, dataset_columns, packing
from trainproof.reference.iop.ledger import Claim, Ledger
from trainproof.reference.iop.multilinear import (
    Point,
    bits,
    corner,
    eq,
    evaluate,
    half,
    less,
    listed,
    mask,
    number,
    variables,
)
from trainproof.reference.iop.sums import Sums
from trainproof.reference.iop.terms import VIRTUAL, Exponential, Later, Share


class Protocol(Blocks):
    """One run. ``sums`` is the prover's witness, None when verifying.

    After ``run``, ``ledger.opened`` are the claims on committed columns that an oracle must confirm.
    """

    def __init__(self, statement: Statement, channel: Channel, sums: Sums | None) -> None:
        self.statement, self.channel, self._sums = statement, channel, sums
        self.ledger = Ledger()

    @property
    def sums(self) -> Sums:
        """What only the prover has."""
        if self._sums is None:
            raise AssertionError("the verifier has no witness")
        return self._sums

    def column(self, name: str, point: Point) -> Element:
        """The value of a committed column that the prover sends; the same claim is sent once."""
        if (name, point) not in self.ledger.opened:
            (value,) = self.channel.values("value", name, 1, lambda: [self.sums.column(name, point)])
            self.ledger.open(name, point, value)
        return self.ledger.opened[name, point]

    def run(self) -> None:
        claims = self.lookups()  # 1: the lookup argument leaves one claim on each lookup
        self.zeros()  # 2: identities that vanish at every cell
        self.select()  # 3: the batch is what the order picks from the dataset
        self.resolve(claims)  # 4: claims on lookups become claims on columns and virtual polynomials
        self.loss()  # 5: products and sums over the classes
        for geometry in reversed(self.statement.geometry):
            self.forward(geometry)  # 6: Z
            self.backward(geometry)  # 7: D
            self.gradients(geometry)  # 8: G
            self.errors(geometry)  # 9: dz
        self.channel.require(not self.ledger.virtual(), "claims left over")  # 10: nothing is owed, no column unread
        unopened = self.ledger.unopened(columns_opened(self.statement))
        self.channel.require(not unopened or bool(self.statement.without), f"never opened: {unopened}")

    # 1.

    def lookups(self) -> list[tuple[Lookup, Claim]]:
        """Section 13."""
        channel = self.channel
        alpha, beta, gamma = channel.challenges(3)
        layout, count = slots(self.statement)
        point, numerator, denominator = fraction_tree(
            channel, count, lambda: leaves(self.statement, self.sums.tensors, alpha, beta, gamma)
        )
        claims, top, bottom = [], Element(0), Element(1)
        for slot in layout:
            weight, place = at_slot(point, slot)
            n, x, y = self._leaf(slot, place)
            top = top + weight * n
            bottom = bottom + weight * (alpha - x - beta * y - gamma * tag(slot.table) - 1)
            if slot.lookup is not None:
                claims.append((slot.lookup, Claim(place, x)))
        channel.require(top == numerator, "leaves: numerator")
        channel.require(bottom == denominator, "leaves: denominator")
        return claims

    def _leaf(self, slot: Slot, place: Point) -> tuple[Element, Element, Element]:
        """A slot's numerator, and the two entries of its denominator."""
        family = slot.lookup
        if family is None:
            _, second = rows(self.statement, slot.table)  # the first entry of row i is i
            y = listed(second, place) if any(second) else Element(0)
            return -self.column(multiplicity(slot.table), place), number(place), y
        (x,) = self.channel.values("leaf", family.name, 1, lambda: [evaluate(whole(self.sums.tensors, family), place)])
        return mask(family.shape, place), x, self.column(family.pair, place) if family.pair else Element(0)

    # 2.

    def zeros(self) -> None:
        """Section 14: all identities of one shape share one sumcheck."""
        groups: dict[tuple[int, ...], list[Zero]] = {}
        for family in families(self.statement):
            if isinstance(family, Zero):
                groups.setdefault(family.shape, []).append(family)
        for number_, (shape, group) in enumerate(groups.items()):
            self._zero_check(f"zero {number_}", shape, group)

    def _zero_check(self, label: str, shape: tuple[int, ...], group: list[Zero]) -> None:
        count = variables(shape)
        rho = self.channel.challenges(count)
        weights = self.channel.challenges(len(group))
        degree = 1 + max(len(terms) for family in group for _, terms in family.products)
        point, last = self.channel.sumcheck(
            label, count, degree, Element(0), lambda: self.sums.zero(group, rho, weights)
        )
        total = Element(0)
        for family, weight in zip(group, weights, strict=True):
            for coefficient, terms in family.products:
                product = weight * coefficient
                for term in terms:
                    assert not isinstance(term, VIRTUAL)
                    product = product * term.evaluate(self, shape, point)
                total = total + product
        self.channel.require(eq(rho, point) * total == last, label)

    # 3.

    def select(self) -> None:
        """Section 8."""
        statement, channel = self.statement, self.channel
        pixels, labels = (int(kind not in statement.without) for kind in SELECTION)
        high, low, used = packing(statement.spec.input.shape)
        rho = channel.challenges(variables(statement.positions))
        places = channel.challenges(low)
        claim = Element(0)
        if pixels:
            for i in range(used):
                claim = claim + self.column("P", (*rho, *corner(i, high), *places)) * 256**i
        label = self._label(rho) if labels else Element(0)
        weight = channel.challenge() * labels
        claim = claim + weight * label
        row, last = channel.sumcheck(
            "rows", statement.index_bits, 2, claim, lambda: self.sums.select(rho, places, Element(pixels), weight)
        )
        data = weight * self.column("L", row)
        if pixels:
            data = data + self.column("D", (*row, *places))
        (chosen,) = channel.values("rows", "", 1, lambda: [evaluate(self.sums.rows(rho), row)])
        channel.require(data * chosen == last, "selection")
        place, last = channel.sumcheck(
            "index bits", len(rho), statement.index_bits + 1, chosen, lambda: self.sums.bits(rho, row)
        )
        product = eq(rho, place)
        for j, sigma in enumerate(reversed(row)):
            bit = self.column(f"bit{j}", place)
            product = product * (bit * (sigma + sigma - 1) + (1 - sigma))
        channel.require(product == last, "selection: index bits")

    def _label(self, rho: Point) -> Element:
        """Σ_o o·hl(ρ, o)."""
        (label,) = self.channel.values("label", "", 1, lambda: [self._inner(rho)])
        count = bits(self.statement.spec.classes)
        o, last = self.channel.sumcheck("label", count, 2, label, lambda: [Term(1, list(self.sums.label(rho)))])
        self.channel.require(number(o) * self.column("hl", (*rho, *o)) == last, "label")
        return label

    def _inner(self, rho: Point) -> Element:
        numbers, labels = self.sums.label(rho)
        return (numbers * labels).sum(0).element()

    # 4.

    def resolve(self, claims: list[tuple[Lookup, Claim]]) -> None:
        """Section 13: a lookup's value at its point is that of its terms."""
        owed: dict[object, Claim] = {}
        for family, (point, value) in claims:
            rest, virtual = value - family.constant, []
            for coefficient, term in family.sum:
                if isinstance(term, VIRTUAL):
                    virtual.append((coefficient, term))
                else:
                    rest = rest - term.evaluate(self, family.shape, point) * coefficient
            if not virtual:
                self.channel.require(rest == 0, family.name)
                continue
            ((coefficient, term),) = virtual
            claim = Claim(point, rest * inverse(coefficient))
            if term.key in owed:
                self.channel.require(owed[term.key] == claim, family.name)
            else:
                owed[term.key] = claim
                self.ledger.owe(term.key, claim)

    # 5.

    def loss(self) -> None:
        """Section 10: what the softmax multiplies, and the maximum's suffix sums."""
        samples = variables(self.statement.positions)
        channel = self.channel
        if self.ledger.owes(Exponential().key):
            point, claim = self.ledger.take(Exponential().key)
            place, last = channel.sumcheck("exponential", len(point), 3, claim, lambda: self.sums.exponential(point))
            product = eq(point, place) * self.column("th", place) * self.column("tl", place)
            channel.require(product == last, "exponential")
        if self.ledger.owes(Share().key):
            point, claim = self.ledger.take(Share().key)
            n, o = point[:samples], point[samples:]
            place, last = channel.sumcheck("share", samples, 3, claim, lambda: self.sums.share(n, o))
            total = self.column("e", (*place, *half(len(o)))) * 2 ** len(o)
            channel.require(eq(n, place) * self.column("p", (*place, *o)) * total == last, "share")
        if self.ledger.owes(Later().key):
            point, claim = self.ledger.take(Later().key)
            n, o = point[:samples], point[samples:]
            place, last = channel.sumcheck("later", len(o), 2, claim, lambda: self.sums.later(n, o))
            channel.require(self.column("hM", (*n, *place)) * less(o, place) == last, "later")


def columns_opened(statement: Statement) -> list[str]:
    """Every column: of the witness, the dataset, and the multiplicities."""
    return [*committed(statement), *dataset_columns(statement), *multiplicity_columns(statement)]
