"""Import of Lightning without torchmetrics' optional imports, a third of the time of a short command."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# torchmetrics imports them if installed, for metrics and plots that no command here uses: torchvision imports
# torch._dynamo, and scipy its signal processing.
BESIDE = ("torchvision", "scipy", "matplotlib")


@contextmanager
def without_extras_of_torchmetrics() -> Iterator[None]:
    """Make torchmetrics treat three libraries as absent while the block imports Lightning, and from then on.

    For the command line only: in a user's own process, torchmetrics would lack its plots and image metrics.
    """
    from lightning_utilities.core import imports

    library: Any = imports
    available, met = library.package_available, library.RequirementCache.__bool__

    def package_available(name: str) -> bool:
        return name not in BESIDE and bool(available(name))

    def requirement_met(cache: Any) -> bool:
        return (cache.requirement or "").split(">")[0] not in BESIDE and bool(met(cache))

    library.package_available, library.RequirementCache.__bool__ = package_available, requirement_met
    try:
        yield
    finally:
        library.package_available, library.RequirementCache.__bool__ = available, met
