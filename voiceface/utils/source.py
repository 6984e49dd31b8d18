"""Constructor arguments, read from a Python file without importing it."""

import ast
from pathlib import Path


def constructor(file: Path, name: str) -> dict[str, str]:
    """Arguments of a class's constructor and their defaults as source text, without importing its module.

    Args:
        file: Python source.
        name: Name of a class in it.
    """
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    names = [a.arg for a in item.args.args[1:] + item.args.kwonlyargs]
                    defaults = [*item.args.defaults, *(d for d in item.args.kw_defaults if d is not None)]
                    padding = [""] * (len(names) - len(defaults))
                    return dict(zip(names, [*padding, *map(ast.unparse, defaults)], strict=True))
    return {}
