"""Train two methods alike and test their difference: `python examples/compare_models.py`, eight minutes."""

import voiceface


def main(steps: int = 800, page: str = "leaderboard.html", **options: object) -> None:
    """Train TriNet and PINs on the same corpus, compare them, write a page.

    Args:
        steps: Optimiser steps of each.
        page: File to write.
        options: Any other option of `voiceface.fit`.
    """
    runs = [voiceface.fit(method, steps=steps, **options) for method in ("trinet", "pins")]
    board = voiceface.compare(runs, tasks=["1:2", "1:2/G", "AUC", "mAP"])
    print(board)
    board.save(page)
    print(f"the same with curves: {page}")


if __name__ == "__main__":
    main()
