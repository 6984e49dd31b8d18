"""One file per published method; the recipes that `--model` takes lie beside them as YAML files."""
