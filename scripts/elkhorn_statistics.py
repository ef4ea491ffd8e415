"""Statistics of timings for scripts/compare.py: ratios of medians with intervals and p-values, with numpy alone.

All of it works on logarithms: times vary by factors, and a ratio's interval must not depend on which way round it is
taken.
"""

import math
from dataclasses import dataclass

import numpy as np


@dataclass
class Effect:
    """A ratio new/old of medians, its 95 % interval, and the two-sided p-value of "no change"; NaN: not determined."""

    ratio: float
    low: float
    high: float
    p: float


def _beta_fraction(x, a, b):
    """The continued fraction of the incomplete beta function (Lentz's method; DLMF 8.17.22)."""
    tiny = 1e-300
    c, d = 1.0, 1.0 / max(1.0 - (a + b) * x / (a + 1.0), tiny)
    value = d
    for m in range(1, 300):
        step = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        for term in (step, -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))):
            d = 1.0 + term * d
            c = 1.0 + term / c
            d = 1.0 / (d if abs(d) > tiny else tiny)
            c = c if abs(c) > tiny else tiny
            value *= c * d
        if abs(c * d - 1.0) < 1e-14:
            break
    return value


def t_tail(t, degrees):
    """P(|T| > t) of Student's t; degrees > 0 need not be whole."""
    if not math.isfinite(t):
        return 0.0
    x = degrees / (degrees + t * t)
    a, b = degrees / 2.0, 0.5
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) \
        if 0.0 < x < 1.0 else 0.0
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(x, a, b) / a
    return 1.0 - front * _beta_fraction(1.0 - x, b, a) / b


def t_quantile(share, degrees):
    """The t with P(|T| > t) = share."""
    low, high = 0.0, 1.0
    while t_tail(high, degrees) > share:
        high *= 2.0
    for _ in range(80):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if t_tail(middle, degrees) > share else (low, middle)
    return 0.5 * (low + high)


def correlation_time(values):
    """How many samples in a row count as one: 1 + 2 Σ ρ_k over the ranks, cut where the sum of two neighbours is no
    longer positive (Geyer's initial positive sequence); 1 for independent samples."""
    n = len(values)
    if n < 8:
        return 1.0
    ranks = np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float)
    ranks -= ranks.mean()
    # Each ρ is estimated too low by about 1/n: the mean was taken from the same numbers.
    rho = [float(ranks[k:] @ ranks[: n - k]) / float(ranks @ ranks) + 1.0 / n for k in range(n // 2)]
    total = 1.0
    for k in range(1, len(rho) - 1, 2):
        pair = rho[k] + rho[k + 1]
        if pair <= 0:
            break
        total += 2.0 * pair
    # What independent samples give by chance (ρ has a standard deviation of 1/√n) is no correlation.
    if rho[1] < 2.0 / math.sqrt(n):
        return 1.0
    # Few independent stretches hide how slow the drift is, so the sum is too small, the more so the larger it is.
    return min(max(total, 1.0) * (1.0 + 5.0 * total / n), float(n))


def log_median(times):
    """(median of the logarithms, its standard error, degrees of freedom) of one run's samples, in the order taken."""
    logs = np.log(np.asarray(times, dtype=float))
    n = len(logs)
    middle = float(np.median(logs))
    if n < 2:
        return middle, math.nan, 0.0
    if n >= 8:
        # McKean and Schrader (1984): the width of the order statistics' interval, which no outlier widens.
        z = 1.959964
        below = max(0, int(round((n + 1) / 2.0 - z * math.sqrt(n / 4.0))) - 1)
        inner = np.sort(logs)
        error = float(inner[n - 1 - below] - inner[below]) / (2.0 * z)
    else:
        error = 1.2533 * float(np.std(logs, ddof=1)) / math.sqrt(n)
    tau = correlation_time(logs)
    return middle, error * math.sqrt(tau), max(n / tau - 1.0, 1.0)


def _effect(difference, error, degrees):
    """From a difference of logarithms with its standard error."""
    if not (error >= 0 and degrees > 0):
        return Effect(math.exp(difference), math.nan, math.nan, math.nan)
    # Clocks have ticks: samples that are all equal still leave a thousandth of doubt.
    error = max(error, 1e-3)
    half = t_quantile(0.05, degrees) * error
    high = math.exp(min(difference + half, 700.0))
    return Effect(math.exp(difference), math.exp(max(difference - half, -700.0)), high,
                  t_tail(abs(difference) / error, degrees))


def _welch(difference, *sources):
    """The effect where independent sources, each (standard error, degrees of freedom), add up."""
    variance = sum(error**2 for error, _ in sources)
    parts = sum(error**4 / degrees for error, degrees in sources)
    degrees = variance**2 / parts if parts > 0 else sum(degrees for _, degrees in sources)
    return _effect(difference, math.sqrt(variance), degrees)


def compare_samples(old, new, run_noise=0.0):
    """The effect between two runs, each a series of samples in the order taken (Welch's degrees of freedom).

    run_noise: standard deviation, as a share, by which whole runs of the same program differ (where its memory came to
    lie, what its neighbours did); no sample within a run can tell it.
    """
    (middle_old, error_old, df_old), (middle_new, error_new, df_new) = log_median(old), log_median(new)
    if not (df_old > 0 and df_new > 0):
        return _effect(middle_new - middle_old, math.nan, 0.0)
    whole_runs = (run_noise, 30.0)
    return _welch(middle_new - middle_old, (error_old, df_old), (error_new, df_new), whole_runs, whole_runs)


def trimmed_mean(values):
    """(20 % trimmed mean, its standard error, degrees of freedom) after Yuen and Dixon (1973)."""
    values = np.sort(np.asarray(values, dtype=float))
    n = len(values)
    cut = int(0.2 * n)
    kept = n - 2 * cut
    middle = float(values[cut : n - cut].mean())
    if kept < 2:
        return middle, math.nan, 0.0
    winsorised = np.clip(values, values[cut], values[n - cut - 1])
    error = math.sqrt(float(((winsorised - winsorised.mean()) ** 2).sum()) / (kept * (kept - 1)))
    return middle, error, kept - 1.0


def compare_runs(old, new):
    """The effect between repeated runs, each given by its median time. As many on both sides are taken as pairs that
    ran one after the other, so what drifts from pair to pair cancels."""
    old, new = np.log(np.asarray(old, dtype=float)), np.log(np.asarray(new, dtype=float))
    if len(old) == len(new):
        return _effect(*trimmed_mean(new - old))
    (middle_old, error_old, df_old), (middle_new, error_new, df_new) = trimmed_mean(old), trimmed_mean(new)
    if not (df_old > 0 and df_new > 0):
        return _effect(middle_new - middle_old, math.nan, 0.0)
    return _welch(middle_new - middle_old, (error_old, df_old), (error_new, df_new))


def compare_relative(old, new):
    """The effects on cases that were sampled in turns, as arrays [rounds, cases] of medians: of each case relative to
    the median of the others in its round, and of all of them together. What disturbs a run disturbs all its cases; relative
    to each other they hold still, so that a change in a few of them shows long before the machine is quiet.
    """
    shifts = np.log(np.asarray(new, dtype=float)) - np.log(np.asarray(old, dtype=float))
    others = np.stack([np.median(np.delete(shifts, case, axis=1), axis=1) for case in range(shifts.shape[1])], axis=1)
    effects = [_effect(*trimmed_mean(column)) for column in (shifts - others).T]
    return effects, _effect(*trimmed_mean(np.median(shifts, axis=1)))


def holm(p_values):
    """p-values corrected for their number after Holm (1979); NaN stays NaN and does not count."""
    p_values = np.asarray(p_values, dtype=float)
    corrected = np.full(len(p_values), np.nan)
    order = [i for i in np.argsort(p_values) if np.isfinite(p_values[i])]
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, p_values[i] * (len(order) - rank)))
        corrected[i] = largest
    return corrected
