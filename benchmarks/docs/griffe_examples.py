"""An extension of griffe, which reads docstrings for the site: griffe knows `Examples:`, our docstrings `Example:`."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Rename the section, so that its lines become code."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """See `griffe.Extension.on_object`."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
