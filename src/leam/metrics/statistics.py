"""Estimates with intervals over people, verdicts, effect sizes, rank statistics and permutation tests.

Everywhere, NaN counts as absent. Means and differences of means have bootstrap-t intervals, whose coverage at 10 to 50
people is measured by ``benchmarks/interval_coverage.py``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

REPEATS = 2000
"""Resamples of a bootstrap."""
LEVEL = 0.95
"""Level of confidence intervals."""
PERMUTATIONS = 10_000
"""Random permutations of a permutation test."""
FEWEST = 10
"""Fewest people from whom a conclusion is drawn, and for whom an interval is charted."""

Word = Literal["supported", "not supported", "inconclusive"]

# Resamples per block: few, so that memory does not grow with the people and a block of weights fits the cache.
_BLOCK = 10
# Resamples of up to this many numbers of one byte are kept for the next figure.
_MAX_KEPT = 64_000_000
# Numbers that a permutation test works on at once, which bounds its memory.
_MAX_PERMUTED = 1_000_000


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % confidence interval over people.

    Attributes:
        mean: The figure; None if there is nothing to estimate it from.
        low: Lower end of the interval.
        high: Upper end of the interval.
        n: Number of people.
    """

    mean: float | None
    low: float | None
    high: float | None
    n: int

    def as_dict(self) -> dict[str, float | int | None]:
        """The estimate as in ``summary.json``, rounded to eight digits; more would depend on the order of additions."""
        return {
            name: float(f"{value:.8g}") if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }

    def linear(self, factor: float = 1.0, constant: float = 0.0) -> Estimate:
        """``factor`` times the figure plus a constant, with its interval."""
        mean, *ends = (
            None if end is None else factor * end + constant
            for end in (self.mean, self.low, self.high)
        )
        low, high = ends if factor >= 0 else reversed(ends)
        return Estimate(mean, low, high, self.n)


NOTHING = Estimate(None, None, None, 0)
"""The estimate from no data."""


def finite(value: float) -> float | None:
    """A number that JSON can represent: None for NaN and infinity."""
    return value if np.isfinite(value) else None


@dataclass(frozen=True)
class Verdict:
    """Whether a claim beats its strongest control.

    Attributes:
        word: The conclusion.
        n: Number of people behind the margin over the strongest control; the smallest of all controls if they are fewer
            than :data:`FEWEST`, which makes the verdict inconclusive.
        control: Name of the strongest control; None if none was measured.
        margin: The claim's figure minus that of the strongest control.
    """

    word: Word
    n: int
    control: str | None
    margin: Estimate

    def __str__(self) -> str:
        """``supported``, ``not supported`` or ``inconclusive (n = ...)``."""
        return _written(self.word, self.n)


def verdict(margins: Mapping[str, Estimate]) -> Verdict:
    """The verdict on a claim about one recognizer.

    The strongest control is the one with the smallest mean margin. The claim is *supported* if the interval of the
    margin over every control, and so over the strongest one, is above zero; *not supported* if the interval of the
    margin over the strongest control is not above zero anywhere; otherwise, with fewer than :data:`FEWEST` people, or
    without a control, *inconclusive*. Requiring all intervals is an intersection-union test (Berger, Technometrics
    1982), whose level needs no correction for the number of controls.

    Args:
        margins: By control, the paired difference between the claim's figure and the control's; positive where the
            claim is right.
    """
    known = {name: (one.mean, one) for name, one in margins.items() if one.mean is not None}
    if not known:
        return Verdict("inconclusive", 0, None, NOTHING)
    control = min(known, key=lambda name: known[name][0])
    margin = known[control][1]
    word: Word = "inconclusive"
    fewest = min(one.n for _, one in known.values())
    if fewest >= FEWEST:
        if all(one.low is not None and one.low > 0 for _, one in known.values()):
            word = "supported"
        elif margin.high is not None and margin.high <= 0:
            word = "not supported"
    return Verdict(word, margin.n if fewest >= FEWEST else fewest, control, margin)


@dataclass(frozen=True)
class Tally:
    """The verdicts on one claim about several recognizers.

    Attributes:
        word: The conclusion over all families.
        n: The smallest number of people behind a verdict.
        supported: Recognizers for which the claim is supported.
        recognizers: Number of recognizers.
        supported_families: Families for which the claim is supported.
        families: Number of families.
    """

    word: Word
    n: int
    supported: int
    recognizers: int
    supported_families: int
    families: int

    def __str__(self) -> str:
        """``supported``, ``not supported`` or ``inconclusive (n = ...)``."""
        return _written(self.word, self.n)

    @property
    def counts(self) -> str:
        """Such as ``supported on 7 of 11 recognizers, 4 of 6 families``."""
        return (
            f"supported on {self.supported} of {self.recognizers} recognizers, "
            f"{self.supported_families} of {self.families} families"
        )


def tally(verdicts: Mapping[str, Verdict], families: Mapping[str, str]) -> Tally:
    """The verdict on a claim about several recognizers, of which related ones count as one family.

    A family gets the word of more than half of its recognizers, and the claim the word of more than half of the
    families; without such a majority, the word is *inconclusive*.

    Args:
        verdicts: By recognizer.
        families: The family of each recognizer; a recognizer without an entry is a family of its own.
    """
    members: dict[str, list[Word]] = {}
    for name, one in verdicts.items():
        members.setdefault(families.get(name, name), []).append(one.word)
    words = [_majority(found) for found in members.values()]
    return Tally(
        word=_majority(words),
        n=min((one.n for one in verdicts.values()), default=0),
        supported=sum(one.word == "supported" for one in verdicts.values()),
        recognizers=len(verdicts),
        supported_families=words.count("supported"),
        families=len(words),
    )


def bootstrap_mean(
    values: Numbers, people: NDArray[np.integer], seed: int, repeats: int = REPEATS
) -> Estimate:
    """The mean of values, with a bootstrap-t interval from a cluster bootstrap over people.

    Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 12.5; the standard error is that of a ratio
    (Cochran, "Sampling Techniques", 1977, ch. 6), since people may have different numbers of values. Where too many
    resamples have no variance, as in a sample of zeros and a few other values, that end is a percentile of the
    resampled means. Below :data:`FEWEST` people, the bootstrap is unstable, and the interval is Student's.

    Args:
        values: ``(n,)``.
        people: The person of each value, ``(n,)``.
        seed: Random seed.
        repeats: Number of resamples.
    """
    return bootstrap_means(values[:, None], people, seed, repeats)[0]


def bootstrap_means(
    values: NDArray[np.floating], people: NDArray[np.integer], seed: int, repeats: int = REPEATS
) -> list[Estimate]:
    """:func:`bootstrap_mean` of each column of values ``(n, c)``.

    Each column gets the estimate that it would get alone; columns with values of the same people share the resamples.
    """
    if not values.shape[1]:
        return []
    _, owner = np.unique(people, return_inverse=True)
    sums = np.zeros((values.shape[1], int(owner.max(initial=-1)) + 1))
    counts = np.zeros_like(sums)
    for place, column in enumerate(values.T):
        present = np.isfinite(column)
        sums[place] = np.bincount(owner, np.where(present, column, 0.0), sums.shape[1])
        counts[place] = np.bincount(owner, present, sums.shape[1])
    known, pattern = np.unique(counts > 0, axis=0, return_inverse=True)
    found = [NOTHING] * values.shape[1]
    for number, whose in enumerate(known):
        columns = np.flatnonzero(pattern.ravel() == number)
        if not whose.any():
            continue
        some, of = sums[np.ix_(columns, whose)], counts[np.ix_(columns, whose)]
        means = some.sum(axis=1) / of.sum(axis=1)
        residuals = some - means[:, None] * of
        freedom = int(whose.sum()) - 1
        errors = np.sqrt((residuals**2).sum(axis=1)) / of.sum(axis=1) * _unbiased(freedom)
        shifts, others = _resampled_ratios(residuals, of, seed, repeats)
        for place, column in enumerate(columns):
            found[column] = _studentised(
                float(means[place]),
                float(errors[place]),
                shifts[:, place],
                others[:, place],
                freedom,
                int(whose.sum()),
            )
    return found


def bootstrap_difference(
    first: Numbers, second: Numbers, seed: int, repeats: int = REPEATS
) -> Estimate:
    """The difference of two groups' means, with a bootstrap-t interval from resampling each group.

    The standard error is Welch's, so that the groups' variances may differ.

    Args:
        first: One value per person of the first group, ``(a,)``.
        second: One value per person of the second group, ``(b,)``.
        seed: Random seed.
        repeats: Number of resamples.

    Returns:
        ``mean(first) - mean(second)``; ``n`` is the number of people in both groups.
    """
    groups = [values[np.isfinite(values)] for values in (first, second)]
    if not all(map(len, groups)):
        return NOTHING
    shift, variance, square = np.zeros(repeats), np.zeros(repeats), 0.0
    # The groups' resamples must be independent.
    for values, own, sign in zip(
        groups, np.random.SeedSequence(seed).spawn(2), (1, -1), strict=True
    ):
        residuals = values - values.mean()
        shifts, errors = _resampled_ratios(residuals[None], np.ones((1, len(values))), own, repeats)
        shift += sign * shifts[:, 0]
        variance += errors[:, 0] ** 2
        square += residuals.var() / len(values) * _unbiased(len(values) - 1) ** 2
    difference, people = float(groups[0].mean() - groups[1].mean()), sum(map(len, groups))
    error = float(np.sqrt(square))
    return _studentised(difference, error, shift, np.sqrt(variance), people - 2, people)


def person_means(values: Numbers, person: NDArray[np.integer], people: int) -> Numbers:
    """The mean of each person's values, ``(people,)``; NaN for a person without values.

    Args:
        values: ``(n,)``.
        person: The person of each value, ``(n,)``, in [0, people).
        people: Number of people.
    """
    present = np.isfinite(values)
    sums = np.bincount(person[present], weights=values[present], minlength=people)
    counts = np.bincount(person[present], minlength=people)
    with np.errstate(invalid="ignore"):
        means: Numbers = sums / counts
    return means


def resamples(
    people: int, seed: int | np.random.SeedSequence, repeats: int = REPEATS
) -> Iterator[Numbers]:
    """How often each person is drawn in each resample, in blocks ``(<=10, people)``."""
    if isinstance(seed, int) and people * repeats <= _MAX_KEPT:
        yield from (block.astype(np.float64) for block in _kept(people, seed, repeats))
    else:
        yield from _drawn(people, seed, repeats)


def estimate(value: float, draws: Numbers, people: int) -> Estimate:
    """A value with the expanded percentile interval of its resampled values ``(repeats,)``; NaN is ignored.

    Percentile intervals are too narrow for small samples. Their levels are expanded so that the interval of a mean of
    normal values has Student's width (Hesterberg, "What teachers should know about the bootstrap", The American
    Statistician 2015, ch. 5).
    """
    from scipy.special import ndtr, stdtrit  # noqa: PLC0415  slow to import

    tail = (1 - LEVEL) / 2
    if people > 1:
        tail = float(ndtr(stdtrit(people - 1, tail) * np.sqrt(people / (people - 1))))
    return _between_percentiles(value, draws, tail, people)


def central(value: float, draws: Numbers, people: int) -> Estimate:
    """A value with the interval that contains the central 95 % of random draws ``(repeats,)``; NaN is ignored."""
    return _between_percentiles(value, draws, (1 - LEVEL) / 2, people)


def cohens_d_paired(differences: Numbers) -> float:
    """Mean paired difference in units of its own standard deviation (Cohen's d_z, 1988).

    Args:
        differences: One per person, ``(P,)``.

    Returns:
        NaN with fewer than two differences, or if all are equal.
    """
    differences = differences[np.isfinite(differences)]
    return _ratio(differences.mean(), differences.std(ddof=1)) if len(differences) > 1 else np.nan


def cohens_d(first: Numbers, second: Numbers) -> float:
    """Difference of two groups' means in units of their pooled standard deviation (Cohen 1988).

    Args:
        first: One value per person of the first group, ``(a,)``.
        second: One value per person of the second group, ``(b,)``.

    Returns:
        NaN with fewer than two values in a group, or if all values are equal.
    """
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    if min(len(first), len(second)) < 2:  # noqa: PLR2004
        return np.nan
    return _ratio(first.mean() - second.mean(), pooled_deviation(first, second))


def pooled_deviation(first: Numbers, second: Numbers) -> float:
    """The pooled standard deviation of two groups, ``(a,)`` and ``(b,)``; NaN with fewer than two values in a group."""
    groups = first[np.isfinite(first)], second[np.isfinite(second)]
    if min(map(len, groups)) < 2:  # noqa: PLR2004
        return np.nan
    squares = sum(float(((one - one.mean()) ** 2).sum()) for one in groups)
    return float(np.sqrt(squares / (sum(map(len, groups)) - 2)))


def cliffs_delta(first: Numbers, second: Numbers) -> float:
    """The probability that a value of the first group is the larger one minus that it is the smaller one (Cliff 1993).

    Args:
        first: ``(a,)``.
        second: ``(b,)``.

    Returns:
        In [-1, 1]; NaN if a group is empty.
    """
    return 2 * auc(first, second) - 1


def auc(higher: Numbers, lower: Numbers) -> float:
    """Area under the ROC curve: the probability that a value of ``higher`` exceeds one of ``lower``; ties count half.

    Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 1982.

    Args:
        higher: ``(a,)``.
        lower: ``(b,)``.

    Returns:
        In [0, 1], 0.5 by chance; NaN if a group is empty.
    """
    higher, lower = higher[np.isfinite(higher)], np.sort(lower[np.isfinite(lower)])
    if not len(higher) or not len(lower):
        return np.nan
    below = np.searchsorted(lower, higher, side="left")
    up_to = np.searchsorted(lower, higher, side="right")
    return float((below + up_to).mean() / (2 * len(lower)))


def spearman(first: NDArray[np.floating], second: NDArray[np.floating]) -> Numbers:
    """Rank correlation along the last axis (Spearman 1904); ties get their mean rank.

    Args:
        first: ``(..., n)``.
        second: The same shape.

    Returns:
        ``(...)`` in [-1, 1]; NaN if one side is constant.
    """
    from scipy.stats import rankdata  # noqa: PLC0415  slow to import

    a, b = (rankdata(values, axis=-1) for values in (first, second))
    a, b = a - a.mean(axis=-1, keepdims=True), b - b.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        correlations: Numbers = (a * b).sum(axis=-1) / np.sqrt(
            (a**2).sum(axis=-1) * (b**2).sum(axis=-1)
        )
    return correlations


def sign_flip_p(differences: Numbers, seed: int, repeats: int = PERMUTATIONS) -> float:
    """Two-sided p-value of a mean paired difference; under the null hypothesis each sign is random.

    Fisher, "The Design of Experiments", 1935. Exact if there are at most ``repeats`` combinations of signs; otherwise
    with random signs, the observed ones counting as one draw (Phipson and Smyth 2010), so that p is never below
    ``1 / (repeats + 1)``.

    Args:
        differences: One per person, ``(P,)``.
        seed: Random seed.
        repeats: Number of permutations.

    Returns:
        In (0, 1]; NaN without a difference.
    """
    differences = differences[np.isfinite(differences)]
    return _permutation_p((differences,), _absolute_sum, "samples", seed, repeats)


def label_permutation_p(
    first: Numbers, second: Numbers, seed: int, repeats: int = PERMUTATIONS
) -> float:
    """Two-sided p-value of the difference of two groups' means, from permuted labels.

    The statistic is Welch's t, with which the test is exact for equal distributions and keeps its level in large
    samples also if variances and sizes differ (Janssen, "Studentized permutation tests for non-i.i.d. hypotheses",
    1997). Exact or with random permutations as in :func:`sign_flip_p`.

    Args:
        first: One value per person of the first group, ``(a,)``.
        second: One value per person of the second group, ``(b,)``.
        seed: Random seed.
        repeats: Number of permutations.

    Returns:
        In (0, 1]; NaN if a group is empty.
    """
    groups = first[np.isfinite(first)], second[np.isfinite(second)]
    return _permutation_p(groups, _welch, "independent", seed, repeats)


def holm(p_values: Numbers) -> Numbers:
    """p-values corrected for their number, so that rejecting below 0.05 keeps the probability of any error at 5 %.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 1979.

    Args:
        p_values: ``(n,)``; NaN stays NaN and is not counted.

    Returns:
        The same shape, in [0, 1], never below the given values.
    """
    adjusted = np.full(p_values.shape, np.nan)
    known = np.flatnonzero(np.isfinite(p_values))
    order = known[np.argsort(p_values[known], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.maximum.accumulate(p_values[order] * factors).clip(max=1)
    return adjusted


def benjamini_hochberg(p_values: Numbers) -> Numbers:
    """p-values corrected for their number, so that rejecting below 0.05 keeps the false discovery rate at 5 %.

    Benjamini and Hochberg, "Controlling the false discovery rate", JRSS B 1995, in its step-up form.

    Args:
        p_values: Any shape; NaN stays NaN and is not counted.

    Returns:
        The same shape, in [0, 1], never below the given values.
    """
    from scipy.stats import false_discovery_control  # noqa: PLC0415  slow to import

    adjusted = np.full(p_values.shape, np.nan)
    present = np.isfinite(p_values)
    if present.any():
        adjusted[present] = false_discovery_control(p_values[present], method="bh")
    return adjusted


def _written(word: Word, n: int) -> str:
    return f"{word} (n = {n})" if word == "inconclusive" else word


def _majority(words: Iterable[Word]) -> Word:
    """The word of more than half."""
    counts = Counter(words)
    return next(
        (word for word, count in counts.items() if 2 * count > counts.total()), "inconclusive"
    )


def _resampled_ratios(
    residuals: Numbers, counts: Numbers, seed: int | np.random.SeedSequence, repeats: int
) -> tuple[Numbers, Numbers]:
    """Resampled ratios of sums, less the observed ratio, and their standard errors, ``(repeats, c)`` each.

    Args:
        residuals: Each person's sum less the observed ratio times the count, ``(c, people)``.
        counts: ``(c, people)``.
        seed: Random seed.
        repeats: Number of resamples.
    """
    columns, people = residuals.shape
    products = np.concatenate([residuals, counts, residuals**2, residuals * counts, counts**2]).T
    shifts, errors = [], []
    for weights in resamples(people, seed, repeats):
        total, size, square, cross, size_square = np.split(
            weights @ products, np.arange(1, 5) * columns, axis=1
        )
        shift = total / size
        variance = (square - 2 * shift * cross + shift**2 * size_square).clip(min=0)
        # What rounding leaves of no variance.
        variance[variance < 1e-12 * square] = 0.0
        shifts.append(shift)
        errors.append(np.sqrt(variance) / size * _unbiased(people - 1))
    return np.concatenate(shifts), np.concatenate(errors)


def _unbiased(freedom: int) -> float:
    """Factor from the root mean square of ``freedom + 1`` residuals to their standard deviation."""
    return float(np.sqrt((freedom + 1) / max(freedom, 1)))


def _studentised(
    value: float, error: float, shifts: Numbers, errors: Numbers, freedom: int, people: int
) -> Estimate:
    """A value with its bootstrap-t interval, or Student's for few people.

    Args:
        value: The observed value.
        error: Its standard error.
        shifts: Resampled values less the observed one, ``(repeats,)``.
        errors: Their standard errors.
        freedom: Degrees of freedom of the standard error.
        people: Number of people.
    """
    tail = (1 - LEVEL) / 2
    if freedom < 1:
        return Estimate(value, None, None, people)
    if people < FEWEST:
        from scipy.special import stdtrit  # noqa: PLC0415  slow to import

        half = -float(stdtrit(freedom, tail)) * error
        return Estimate(value, value - half, value + half, people)
    infinite = np.where(shifts == 0, 0.0, np.copysign(np.inf, shifts))
    ratios = np.divide(shifts, errors, out=infinite, where=errors > 0)
    low, high = np.quantile(ratios, [tail, 1 - tail], method="inverted_cdf")
    ends = _between_percentiles(value, value + shifts, tail, people)
    return Estimate(
        value,
        value - float(high) * error if np.isfinite(high) else ends.low,
        value - float(low) * error if np.isfinite(low) else ends.high,
        people,
    )


def _between_percentiles(value: float, draws: Numbers, tail: float, people: int) -> Estimate:
    """A value between the draws that cut off a tail on either side."""
    if not np.isfinite(draws).any():
        return Estimate(value, None, None, people)
    low, high = np.nanpercentile(draws, [100 * tail, 100 * (1 - tail)])
    return Estimate(value, float(low), float(high), people)


def _drawn(people: int, seed: int | np.random.SeedSequence, repeats: int) -> Iterator[Numbers]:
    generator = np.random.default_rng(seed)
    for start in range(0, repeats, _BLOCK):
        # Drawing people and counting them is much faster than drawing multinomial counts.
        drawn = (
            generator.integers(people, size=people, dtype=np.uint32)
            for _ in range(min(_BLOCK, repeats - start))
        )
        yield np.stack([np.bincount(one, minlength=people) for one in drawn]).astype(np.float64)


@lru_cache(maxsize=2)
def _kept(people: int, seed: int, repeats: int) -> tuple[NDArray[np.uint8], ...]:
    """The blocks of :func:`_drawn`, cached: a study needs the same resamples hundreds of times.

    One byte per count is enough: the probability that a person is drawn 256 times or more is below 10^-500.
    """
    return tuple(block.astype(np.uint8) for block in _drawn(people, seed, repeats))


def _ratio(difference: float, deviation: float) -> float:
    return float(difference / deviation) if deviation > 0 else np.nan


def _permutation_p(
    samples: tuple[Numbers, ...],
    statistic: Callable[..., Numbers],
    kind: str,
    seed: int,
    repeats: int,
) -> float:
    if not all(len(values) for values in samples):
        return np.nan
    if min(map(len, samples)) == 1:
        return _single_p(samples)
    from scipy.stats import permutation_test  # noqa: PLC0415  slow to import

    result = permutation_test(
        samples,
        statistic,
        permutation_type=kind,
        alternative="greater",
        n_resamples=repeats,
        batch=max(1, _MAX_PERMUTED // sum(map(len, samples))),
        random_state=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def _single_p(samples: tuple[Numbers, ...]) -> float:
    """The exact p-value if a sample has a single value, which SciPy refuses."""
    if len(samples) == 1:
        return 1.0
    single, others = sorted(samples, key=len)
    pooled = np.concatenate([single, others])
    # Each value in turn is the single one.
    distances = np.abs(pooled - (pooled.sum() - pooled) / len(others))
    # Sums in another order differ in their last bits, and must still count as equal.
    return float((distances >= distances[0] * (1 - 1e-12)).mean())


def _absolute_sum(values: Numbers, axis: int) -> Numbers:
    return np.asarray(np.abs(values.sum(axis=axis)))


def _welch(first: Numbers, second: Numbers, axis: int) -> Numbers:
    """``t^2 / (1 + t^2)`` of Welch's t: it increases with ``|t|``, and stays finite without variance."""
    square = (first.mean(axis=axis) - second.mean(axis=axis)) ** 2
    error = sum(one.var(axis=axis, ddof=1) / one.shape[axis] for one in (first, second))
    total = np.asarray(square + error)
    return np.asarray(np.divide(square, total, out=np.zeros_like(total), where=total > 0))
