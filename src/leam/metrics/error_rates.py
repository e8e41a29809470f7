"""Error rates of face verification, in the terms of ISO/IEC 19795-1, with intervals over people.

A comparison is accepted if its similarity reaches the threshold. The false match rate (FMR) is the fraction of impostor
comparisons that are accepted, the false non-match rate (FNMR) the fraction of genuine comparisons that are not.

Comparisons share people: an error of one picture tends to recur in all its comparisons, and a person who resembles
many others causes many false matches. Every interval here therefore resamples people, not comparisons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from leam.errors import InputError
from leam.metrics.statistics import (
    FEWEST,
    LEVEL,
    NOTHING,
    REPEATS,
    Estimate,
    Numbers,
    resamples,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

RULE_OF_30 = 30
"""Fewest expected errors behind a reported rate: with 30 independent errors, the true rate is within 30 % of the
observed one with 90 % confidence (Doddington et al., "The NIST speaker recognition evaluation", 2000)."""

_TAIL = (1 - LEVEL) / 2
# A matrix of which more than this part is not zero is stored in full.
_FULL = 0.02
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Comparisons:
    """Scores of comparisons of two pictures.

    Attributes:
        scores: Similarities, ``(N,)``; larger means more alike.
        first: The person of one picture, as a position among all people, ``(N,)``.
        second: The person of the other picture, ``(N,)``.
        people: Number of people.
    """

    scores: Numbers
    first: Indices
    second: Indices
    people: int

    def __post_init__(self) -> None:
        """Check the shapes and values.

        Raises:
            InputError: The arrays have different lengths, or a score is not finite.
        """
        if not self.scores.shape == self.first.shape == self.second.shape:
            raise InputError(
                f"comparisons need one score and two people each; got {len(self.scores)} scores, "
                f"{len(self.first)} and {len(self.second)} people"
            )
        if not np.isfinite(self.scores).all():
            raise InputError("a score of a comparison is not finite")

    @cached_property
    def genuine(self) -> Comparisons:
        """The comparisons of two pictures of one person."""
        return self.where(self.first == self.second)

    @cached_property
    def impostors(self) -> Comparisons:
        """The comparisons of pictures of two people."""
        return self.where(self.first != self.second)

    def where(self, kept: NDArray[np.bool_]) -> Comparisons:
        """The comparisons at which ``kept`` ``(N,)`` is true."""
        return Comparisons(self.scores[kept], self.first[kept], self.second[kept], self.people)

    def among(self, members: NDArray[np.bool_]) -> Comparisons:
        """The comparisons among people at which ``members`` ``(P,)`` is true, numbered anew."""
        some = self.where(members[self.first] & members[self.second])
        place = members.cumsum() - 1
        return Comparisons(some.scores, place[some.first], place[some.second], int(members.sum()))

    def compared(self) -> NDArray[np.bool_]:
        """Whether each person has a comparison, ``(P,)``."""
        counts = np.bincount(np.concatenate([self.first, self.second]), minlength=self.people)
        return counts > 0


@dataclass(frozen=True)
class ErrorCurve:
    """Both error rates at each distinct score as threshold, and above all scores.

    Attributes:
        thresholds: Ascending, ``(K,)``; infinity is the last.
        fmr: False match rates, ``(K,)``, falling.
        fnmr: False non-match rates, ``(K,)``, rising.
    """

    thresholds: Numbers
    fmr: Numbers
    fnmr: Numbers


@dataclass(frozen=True)
class EqualErrorRate:
    """The point at which both error rates are equal.

    Attributes:
        rate: The mean of both rates there.
        low: The smaller one of both rates.
        high: The larger one.
        threshold: The threshold.
    """

    rate: float
    low: float
    high: float
    threshold: float


@dataclass(frozen=True)
class OperatingPoint:
    """The error rates at one threshold.

    Attributes:
        threshold: Comparisons at or above it are accepted; infinite if only rejecting all reaches the stated rate.
        fmr: The false match rate there.
        fnmr: The false non-match rate there.
    """

    threshold: float
    fmr: Estimate
    fnmr: Estimate


def error_curve(comparisons: Comparisons) -> ErrorCurve:
    """The error rates at all thresholds, from which DET and ROC curves are drawn.

    Raises:
        InputError: There are no genuine or no impostor comparisons.
    """
    genuine, impostors = (
        np.sort(one.scores) for one in (comparisons.genuine, comparisons.impostors)
    )
    if not len(genuine) or not len(impostors):
        kind = "impostor" if len(genuine) else "genuine"
        raise InputError(f"no {kind} comparisons: error rates need both kinds")
    thresholds = np.append(np.unique(comparisons.scores), np.inf)
    return ErrorCurve(
        thresholds,
        fmr=(len(impostors) - np.searchsorted(impostors, thresholds)) / len(impostors),
        fnmr=np.searchsorted(genuine, thresholds) / len(genuine),
    )


def equal_error_rate(curve: ErrorCurve) -> EqualErrorRate:
    """Where both error rates are equal, or closest on both sides of the crossing.

    Maio et al., "FVC2000: fingerprint verification competition", PAMI 2002.
    """
    after = int(np.argmax(curve.fmr <= curve.fnmr))
    exact = curve.fmr[after] == curve.fnmr[after]
    before = after if exact or after == 0 else after - 1
    place = min((before, after), key=lambda index: float(curve.fmr[index] + curve.fnmr[index]))
    low, high = sorted((float(curve.fmr[place]), float(curve.fnmr[place])))
    return EqualErrorRate((low + high) / 2, low, high, float(curve.thresholds[place]))


def threshold_at_fmr(curve: ErrorCurve, fmr: float) -> float:
    """The lowest threshold whose false match rate is at most ``fmr``; infinite if only rejecting all reaches it."""
    return float(curve.thresholds[np.argmax(curve.fmr <= fmr)])


def fnmr_at(curve: ErrorCurve, threshold: float) -> float:
    """The false non-match rate at a threshold."""
    return float(curve.fnmr[np.searchsorted(curve.thresholds, threshold)])


def least_fmr(comparisons: int) -> float | None:
    """The least false match rate, as a power of ten, that this number of impostor comparisons supports.

    By the rule of 30 (:data:`RULE_OF_30`). The rule counts comparisons as independent; the intervals do not.

    Returns:
        At most 0.1; None for fewer than 300 comparisons.
    """
    if comparisons < 10 * RULE_OF_30:
        return None
    digits = int(np.floor(np.log10(comparisons / RULE_OF_30) + 1e-9))
    return float(f"1e-{digits}")


def fnmr_estimate(genuine: Comparisons, threshold: float, seed: int) -> Estimate:
    """The false non-match rate at a fixed threshold, with its interval over people.

    The interval is a bootstrap-t on the logit scale from a cluster bootstrap over people, with the standard error of a
    ratio (Cochran, "Sampling Techniques", 1977, ch. 6). If the errors come from fewer than :data:`FEWEST` people, the
    bootstrap cannot be trusted, and the interval is that of Clopper and Pearson with the effective sample size (Korn
    and Graubard, "Confidence intervals for proportions with small expected number of positive counts estimated from
    survey data", Survey Methodology 1998).

    Args:
        genuine: Genuine comparisons.
        threshold: Comparisons below it are errors.
        seed: Random seed.

    Returns:
        ``n`` is the number of people.
    """
    some = genuine.among(genuine.compared())
    return _rate(person_counts(some, some.scores < threshold), seed)


def fmr_estimate(impostors: Comparisons, threshold: float, seed: int) -> Estimate:
    """The false match rate at a fixed threshold, with its interval over people.

    As :func:`fnmr_estimate`, but each comparison belongs to two people: a resample weights it by the product of theirs
    (Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007), and the standard error, in which the
    comparisons of two people count once, is that of Aronow, Samii and Assenova, "Cluster-robust variance estimation for
    dyadic data", Political Analysis 2015. Studentising removes the excess variance of the products.

    Args:
        impostors: Impostor comparisons.
        threshold: Comparisons at or above it are errors.
        seed: Random seed.

    Returns:
        ``n`` is the number of people.
    """
    some = impostors.among(impostors.compared())
    return _rate(pair_counts(some, some.scores >= threshold), seed)


def fnmr_at_fmr(comparisons: Comparisons, fmr: float, seed: int) -> OperatingPoint:
    """The false non-match rate at the threshold that gives a stated false match rate.

    The interval has two sources, the genuine comparisons and the threshold, which is estimated from the impostor
    comparisons. Its distances from the rate are the root of the sum of both squared distances (MOVER; Zou and Donner,
    "Construction of confidence limits about effect measures", Statistics in Medicine 2008).

    Args:
        comparisons: Genuine and impostor comparisons.
        fmr: The false match rate, in (0, 1).
        seed: Random seed.

    Raises:
        InputError: There are no genuine or no impostor comparisons.
    """
    curve = error_curve(comparisons)
    threshold = threshold_at_fmr(curve, fmr)
    matches = fmr_estimate(comparisons.impostors, threshold, seed)
    alone = fnmr_estimate(comparisons.genuine, threshold, seed)
    value = fnmr_at(curve, threshold)

    def moved(end: float | None) -> float:
        """The rate if this end of the interval were the false match rate at the threshold."""
        if not end or not matches.mean:
            return value
        return fnmr_at(curve, threshold_at_fmr(curve, min(fmr * matches.mean / end, 1.0)))

    low, high = _joined(value, [(alone.low, alone.high), (moved(matches.low), moved(matches.high))])
    return OperatingPoint(threshold, matches, Estimate(value, low, high, alone.n))


def eer_estimate(comparisons: Comparisons, seed: int) -> Estimate:
    """The equal error rate with its interval over people, joined from those of both rates as in :func:`fnmr_at_fmr`.

    Raises:
        InputError: There are no genuine or no impostor comparisons.
    """
    curve = error_curve(comparisons)
    found = equal_error_rate(curve)
    matches = fmr_estimate(comparisons.impostors, found.threshold, seed)
    rejections = fnmr_estimate(comparisons.genuine, found.threshold, seed)

    def moved(rates: Numbers, estimate: Estimate, end: float | None) -> Numbers:
        return rates * (end / estimate.mean) if estimate.mean and end is not None else rates

    def crossing(fmr: Numbers, fnmr: Numbers) -> float:
        return equal_error_rate(ErrorCurve(curve.thresholds, fmr, fnmr)).rate

    ends = [
        tuple(
            crossing(moved(curve.fmr, matches, end), curve.fnmr)
            for end in (matches.low, matches.high)
        ),
        tuple(
            crossing(curve.fmr, moved(curve.fnmr, rejections, end))
            for end in (rejections.low, rejections.high)
        ),
    ]
    return Estimate(found.rate, *_joined(found.rate, ends), max(matches.n, rejections.n))


def _joined(
    value: float, intervals: Sequence[tuple[float | None, ...]]
) -> tuple[float | None, float | None]:
    """The interval of a value from the intervals that its independent sources would give alone."""
    if any(end is None for interval in intervals for end in interval):
        return None, None
    ends = np.array(intervals, dtype=float)
    below, above = (
        np.sqrt((np.minimum(ends - value, 0) ** 2).max(axis=1).sum()),
        np.sqrt((np.maximum(ends - value, 0) ** 2).max(axis=1).sum()),
    )
    return float(max(value - below, 0.0)), float(min(value + above, 1.0))


def mean_estimate(comparisons: Comparisons, values: Numbers, seed: int) -> Estimate:
    """The mean of a value of comparisons, with its interval over people.

    A bootstrap-t as in :func:`fnmr_estimate` for genuine and :func:`fmr_estimate` for impostor comparisons, but without
    the logit.

    Args:
        comparisons: Genuine comparisons only, or impostor comparisons only.
        values: The value of each comparison, ``(N,)``.
        seed: Random seed.

    Returns:
        ``n`` is the number of people.
    """
    if not len(values):
        return NOTHING
    some = comparisons.among(comparisons.compared())
    counts = counts_of(some, values)
    means, errors = counts.moments(np.ones((1, some.people)))
    value, error = float(means[0]), float(errors[0])
    if some.people < FEWEST or not error:
        return Estimate(value, None, None, some.people)
    drawn = [
        (found - value) / np.where(spread > 0, spread, np.inf)
        for found, spread in _drawn(counts, seed)
    ]
    low, high = np.nanquantile(np.concatenate(drawn), [_TAIL, 1 - _TAIL])
    return Estimate(value, float(value - high * error), float(value - low * error), some.people)


def counts_of(
    comparisons: Comparisons, values: Numbers | NDArray[np.bool_]
) -> PersonCounts | PairCounts:
    """Sums of a value of genuine comparisons by person, or of impostor comparisons by pair of people."""
    genuine = bool((comparisons.first == comparisons.second).all())
    return (person_counts if genuine else pair_counts)(comparisons, values)


@dataclass(frozen=True)
class PersonCounts:
    """Sums over the comparisons of each person.

    Attributes:
        errors: Errors, or another value, ``(P,)``.
        total: Comparisons, ``(P,)``.
    """

    errors: Numbers
    total: Numbers

    @property
    def people(self) -> int:
        """Number of people."""
        return len(self.total)

    @property
    def units(self) -> int:
        """Number of independent units: people."""
        return self.people

    @property
    def people_with_errors(self) -> int:
        """Number of people with an error."""
        return int((self.errors > 0).sum())

    def rates(self, weights: Numbers) -> Numbers:
        """Rates if people count ``weights`` ``(R, P)`` times, ``(R,)``; NaN without a comparison."""
        with np.errstate(invalid="ignore"):
            found: Numbers = (weights @ self.errors) / (weights @ self.total)
        return found

    def moments(self, weights: Numbers) -> tuple[Numbers, Numbers]:
        """Rates and their standard errors if people count ``weights`` ``(R, P)`` times."""
        size, rates = weights @ self.total, self.rates(weights)
        squares = (self.errors - rates[:, None] * self.total) ** 2
        # The mean square of residuals is too small by this factor.
        factor = self.people / max(self.people - 1, 1)
        return rates, np.sqrt((weights * squares).sum(axis=1) * factor) / size


@dataclass(frozen=True)
class PairCounts:
    """Sums over the comparisons of every two people.

    Attributes:
        errors: Errors, or another value; symmetric, ``(P, P)``.
        total: Comparisons; symmetric, ``(P, P)``.
    """

    errors: csr_array | Numbers
    total: csr_array | Numbers

    @property
    def people(self) -> int:
        """Number of people."""
        return int(self.total.shape[0])

    @property
    def units(self) -> int:
        """Number of pairs of people that were compared."""
        return int((self.total > 0).sum()) // 2

    @property
    def people_with_errors(self) -> int:
        """Number of people with an error."""
        return int((self.errors.sum(axis=1) > 0).sum())

    @cached_property
    def _products(self) -> tuple[csr_array | Numbers, csr_array | Numbers, csr_array | Numbers]:
        return self.errors * self.errors, self.errors * self.total, self.total * self.total

    def rates(self, weights: Numbers) -> Numbers:
        """Rates if people count ``weights`` ``(R, P)`` times, ``(R,)``; NaN without a comparison."""
        with np.errstate(invalid="ignore"):
            found: Numbers = _quadratic(weights, self.errors) / _quadratic(weights, self.total)
        return found

    def moments(self, weights: Numbers) -> tuple[Numbers, Numbers]:
        """Rates and their standard errors if people count ``weights`` ``(R, P)`` times."""
        errors, total = (self.errors @ weights.T).T, (self.total @ weights.T).T
        # Each comparison is in the symmetric matrices twice.
        size = (weights * total).sum(axis=1) / 2
        with np.errstate(invalid="ignore", divide="ignore"):
            rates = (weights * errors).sum(axis=1) / 2 / size
            of_people = (weights * (errors - rates[:, None] * total) ** 2).sum(axis=1)
            square, cross, size_square = (_quadratic(weights, one) / 2 for one in self._products)
            of_pairs = square - 2 * rates * cross + rates**2 * size_square
            # Pairs are in the squares of both people. Where nothing is shared, only they vary.
            variance = np.maximum(of_people - of_pairs, of_pairs)
            return rates, np.sqrt(variance) / size


def person_counts(
    genuine: Comparisons, wrong: NDArray[np.bool_] | NDArray[np.floating]
) -> PersonCounts:
    """Count errors and comparisons of each person.

    Args:
        genuine: Genuine comparisons.
        wrong: Whether each is an error, or another value, ``(N,)``.
    """
    errors, total = (
        np.bincount(genuine.first, values, genuine.people).astype(np.float64)
        for values in (wrong, np.ones(len(wrong)))
    )
    return PersonCounts(errors, total)


def pair_counts(
    impostors: Comparisons, wrong: NDArray[np.bool_] | NDArray[np.floating]
) -> PairCounts:
    """Count errors and comparisons of every two people who were compared.

    Args:
        impostors: Impostor comparisons.
        wrong: Whether each is an error, or another value, ``(N,)``.
    """
    from scipy.sparse import coo_array  # noqa: PLC0415  slow to import

    ends = impostors.first, impostors.second
    shape = (impostors.people, impostors.people)

    def matrix(values: Numbers) -> csr_array | Numbers:
        rows, columns = np.concatenate(ends), np.concatenate(ends[::-1])
        found = coo_array((np.concatenate([values, values]), (rows, columns)), shape).tocsr()
        found.eliminate_zeros()
        # Products of a full matrix are much faster.
        full = found.nnz > _FULL * impostors.people**2
        return np.asarray(found.toarray()) if full else found

    return PairCounts(matrix(wrong.astype(float)), matrix(np.ones(len(wrong))))


def _quadratic(weights: Numbers, matrix: csr_array | Numbers) -> Numbers:
    """``w' M w`` of each row of weights ``(R, P)``."""
    return np.asarray((weights * (matrix @ weights.T).T).sum(axis=1))


def _rate(counts: PersonCounts | PairCounts, seed: int) -> Estimate:
    if not counts.people:
        return NOTHING
    rates, errors = counts.moments(np.ones((1, counts.people)))
    value, error = float(rates[0]), float(errors[0])
    few = counts.people_with_errors < FEWEST or value == 1
    ends = _clopper_pearson(value, error, counts.units) if few else _studentised(counts, seed)
    return Estimate(value, *ends, counts.people)


def _clopper_pearson(value: float, error: float, units: int) -> tuple[float, float]:
    """The exact binomial interval with as many independent units as give this standard error."""
    from scipy.special import betaincinv  # noqa: PLC0415  slow to import

    size = min(value * (1 - value) / error**2, units) if error > 0 else units
    hits = value * size
    low = float(betaincinv(hits, size - hits + 1, _TAIL)) if hits > 0 else 0.0
    high = float(betaincinv(hits + 1, size - hits, 1 - _TAIL)) if hits < size else 1.0
    return low, high


def _studentised(counts: PersonCounts | PairCounts, seed: int) -> tuple[float, float]:
    """The bootstrap-t interval on the logit scale."""
    from scipy.special import expit  # noqa: PLC0415  slow to import

    rates, errors = counts.moments(np.ones((1, counts.people)))
    centre, scale = _logits(rates, errors)
    ratios = np.concatenate(
        [
            (place - centre) / width
            for place, width in (_logits(*found) for found in _drawn(counts, seed))
        ]
    )
    low, high = np.quantile(ratios, [_TAIL, 1 - _TAIL], method="inverted_cdf")
    ends = expit(centre[0] - np.array([high, low]) * scale[0])
    return float(ends[0]), float(ends[1])


def _drawn(counts: PersonCounts | PairCounts, seed: int) -> Iterator[tuple[Numbers, Numbers]]:
    for weights in resamples(counts.people, seed, REPEATS):
        yield counts.moments(weights)


def _logits(rates: Numbers, errors: Numbers) -> tuple[Numbers, Numbers]:
    """Rates and their standard errors on the logit scale; a rate of 0 or 1 is infinitely far."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = rates * (1 - rates)
        spread = np.where((variance > 0) & (errors > 0), errors / variance, 1.0)
        return np.log(rates) - np.log1p(-rates), spread
