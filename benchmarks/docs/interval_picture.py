"""Draw docs/images/why-not-binomial.svg: 40 draws of 189 people, each with its binomial and its identity interval.

Run `python -m benchmarks.docs.interval_picture`; it also prints how many intervals hold the population's accuracy.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.scores.interval_population import LEVEL, SEED, draw, true_accuracy, win_rates
from voiceface.scores.confidence import binomial_interval, identity_interval
from voiceface.scores.matching import accuracy

PEOPLE, DRAWS, TRIALS = 189, 40, 30_720_000
PATH = Path(__file__).parents[2] / "docs" / "images" / "why-not-binomial.svg"
HOLDS, MISSES = "#1f5fa8", "#d1600a"


def intervals() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Value, lower and upper end in per cent, (DRAWS, 3): of sampled triplets, and of all of them over people."""
    rng, mask = np.random.default_rng(SEED), ~np.eye(PEOPLE, dtype=np.bool_)
    of_trials, of_people = [], []
    for _ in range(DRAWS):
        rates = win_rates(draw(PEOPLE, rng))
        exact = accuracy(rates, mask)
        around = identity_interval(rates, mask, LEVEL)
        assert exact is not None
        assert around is not None
        sampled = rng.binomial(TRIALS, exact) / TRIALS  # nothing ties
        of_trials.append((sampled, *binomial_interval(sampled, TRIALS, LEVEL)))
        of_people.append((exact, *around))
    return 100 * np.array(of_trials), 100 * np.array(of_people)


def panel(axes: Any, found: NDArray[np.float64], truth: float, title: str) -> int:
    """Draw one kind of interval, and give how many hold the truth."""
    value, low, high = found.T
    holds = (low <= truth) & (truth <= high)
    number = np.arange(1, DRAWS + 1)
    for mask, color, marker in ((holds, HOLDS, "o"), (~holds, MISSES, "x")):
        axes.hlines(number[mask], low[mask], high[mask], color=color, linewidth=1.6)
        axes.plot(value[mask], number[mask], marker, color=color, markersize=3.5, linestyle="none")
    axes.axvline(truth, color="#333333", linewidth=1.0)
    half = float((high - low).mean()) / 2
    axes.set(title=f"{title} (± {half:.2g}):\n{holds.sum()} of {DRAWS} hold the true value")
    axes.set(xlabel="1:2 accuracy, per cent")
    return int(holds.sum())


def main() -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    truth = 100 * true_accuracy()
    of_trials, of_people = intervals()
    plt.rcParams |= {"svg.hashsalt": "voiceface", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False}
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.4, 5.0), sharex=True, sharey=True, layout="constrained")
    trials = panel(left, of_trials, truth, f"Binomial, {TRIALS:,} sampled triplets")
    people = panel(right, of_people, truth, "Over people, all triplets")
    left.set(ylabel=f"draw of {PEOPLE} people", ylim=(0, DRAWS + 4))
    left.annotate(
        f"true value\n{truth:.2f}", (truth, DRAWS + 3.8), (6, 0), textcoords="offset points", va="top", color="#333333"
    )
    PATH.parent.mkdir(exist_ok=True)
    figure.savefig(PATH, metadata={"Date": None})
    plt.close(figure)
    print(f"true value {truth:.2f}; held by {trials} binomial and {people} identity intervals of {DRAWS}")
    for name, found in (("binomial", of_trials), ("identity", of_people)):
        print(f"{name}: mean half width {float((found[:, 2] - found[:, 1]).mean()) / 2:.3f} points")


if __name__ == "__main__":
    main()
