"""Constructor arguments, read from a Python file without importing it, or from a class."""

import ast
import inspect
import re
from pathlib import Path


def constructor(file: Path, name: str) -> dict[str, str]:
    """Arguments of a class's constructor and their defaults as source text, without importing its module.

    Args:
        file: Python source.
        name: Class in it. Where it takes `**kwargs`, they are those of its base class, in `base.py` of the same folder.
    """
    found: dict[str, str] = {}
    for _, arguments in _with_base(file, name):
        names = [a.arg for a in arguments.args[1:] + arguments.kwonlyargs]
        defaults = [*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None)]
        padding = [""] * (len(names) - len(defaults))
        found |= zip(names, [*padding, *map(ast.unparse, defaults)], strict=True)
    return found


def explanations(file: Path, name: str) -> dict[str, str]:
    """What the docstring of a class, or of the base class that `constructor` reads too, says of each argument."""
    texts = [ast.get_docstring(node) or "" for node, _ in _with_base(file, name)]
    return _explained("\n".join(texts))


def parameters(owner: type) -> dict[str, inspect.Parameter]:
    """Parameters of a class's constructor; where it takes `**kwargs`, after those of the next constructor above."""
    found: dict[str, inspect.Parameter] = {}
    for above in owner.__mro__:
        if "__init__" not in vars(above) or above is object:
            continue
        try:
            own = dict(inspect.signature(above, eval_str=True).parameters)
        except NameError:  # annotations that name what is imported for type checkers alone
            own = dict(inspect.signature(above).parameters)
        plain = {name: p for name, p in own.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        found = {**plain, **found}
        if not any(p.kind is p.VAR_KEYWORD for p in own.values()):
            break
    return found


def parameter_docs(owner: type) -> dict[str, str]:
    """What the docstrings of a class and of those above it say of each argument, as `explanations` of a file."""
    return _explained("\n".join(inspect.cleandoc(above.__doc__ or "") for above in reversed(owner.__mro__[:-1])))


def _explained(text: str) -> dict[str, str]:
    found = re.findall(r"^    (\w+): ((?:.|\n     )+)", text, re.M)
    return {argument: " ".join(text.split()) for argument, text in found}


def _with_base(file: Path, name: str) -> list[tuple[ast.ClassDef, ast.arguments]]:
    """A class of a file and its constructor's arguments, after those of the base class that takes its `**kwargs`."""
    for node in ast.parse(file.read_text()).body:
        if isinstance(node, ast.ClassDef) and node.name == name:
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    base = _with_base(file.with_name("base.py"), ast.unparse(node.bases[0])) if item.args.kwarg else []
                    return [*base, (node, item.args)]
    return []
