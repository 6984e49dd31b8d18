"""Strata: the pairs of identities that a score compares.

U contains all pairs. A letter, or a conjunction of letters such as GNA, contains the pairs that agree on those
attributes: G gender, N nationality, A age band, E ethnicity, F first language. `male` and `female` are the pairs of G
split by the probe's gender. A pair with an unknown attribute belongs to no stratum that uses it.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from voiceface.utils.errors import UserError

ATTRIBUTES = {"G": "gender", "N": "nationality", "A": "age", "E": "ethnicity", "F": "first_language"}
GENDERS = {"male": "m", "female": "f"}
DEFAULT_STRATA = ("U", "G", "N", "A", "E", "F", "GN", "GE", "GNA", "GEFA", "male", "female")

Attributes = Sequence[Mapping[str, str]]


def default_strata(attributes: Attributes) -> list[str]:
    """List the strata of `DEFAULT_STRATA` whose attributes are known for at least one identity.

    Args:
        attributes: One mapping from attribute name to value per identity; empty or missing = unknown.

    Returns:
        Names of strata, U first.
    """
    return [s for s in DEFAULT_STRATA if all(any(values_of(attributes, name)) for name in _attributes_of(s))]


def stratum_mask(stratum: str, attributes: Attributes) -> NDArray[np.bool_]:
    """Mask of the ordered pairs (probe identity, other identity) in a stratum.

    Args:
        stratum: U, `male`, `female`, or letters of `ATTRIBUTES` such as G or GNA.
        attributes: One mapping from attribute name to value per identity; empty or missing = unknown. Case and outer
            spaces are ignored, male and female equal m and f, and a number as age is replaced by its decade.

    Returns:
        bool (I, I), symmetric, False on the diagonal.

    Raises:
        UserError: The stratum is unknown.
    """
    mask = ~np.eye(len(attributes), dtype=np.bool_)
    for name in _attributes_of(stratum):
        values = np.array(values_of(attributes, name))
        mask &= (values[:, None] == values[None, :]) & (values != "")
    if stratum in GENDERS:
        mask &= (np.array(values_of(attributes, "gender")) == GENDERS[stratum])[:, None]
    return mask


def _attributes_of(stratum: str) -> list[str]:
    if stratum == "U":
        return []
    if stratum in GENDERS:
        return ["gender"]
    if not stratum or set(stratum) - set(ATTRIBUTES) or len(set(stratum)) < len(stratum):
        raise UserError(f"strata: {stratum!r} is not a stratum; use U, male, female, or letters of GNAEF such as GNA")
    return [ATTRIBUTES[letter] for letter in stratum]


def values_of(attributes: Attributes, name: str) -> list[str]:
    """Return one attribute of each identity, normalised: lower case, gender as m or f, an age as its decade."""
    return [_normal(row.get(name, ""), name) for row in attributes]


def _normal(value: object, name: str) -> str:
    value = "" if value is None else str(value).strip().casefold()
    if name == "gender":
        return GENDERS.get(value, value)
    if name == "age" and value.isdecimal():
        return f"{int(value) // 10}0s"
    return value
