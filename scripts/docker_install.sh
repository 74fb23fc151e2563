#!/bin/sh
# Steps of the Dockerfile, in the Python that comes first on the path:
#   torch         PyTorch for CPUs, of the version in constraints.txt, from PyTorch's own index
#   requirements  the other requirements of pyproject.toml and its extra `export`, and setuptools
#   package       aerostat itself, which changes most often, without its requirements
set -eu
cd "$(dirname "$0")/.."

case "${1:-}" in
torch)
    python -m pip install --no-deps --index-url https://download.pytorch.org/whl/cpu "$(grep '^torch==' constraints.txt)"
    ;;
requirements)
    python -c '
import tomllib
with open("pyproject.toml", "rb") as file:
    content = tomllib.load(file)
project = content["project"]
wanted = project["dependencies"] + project["optional-dependencies"]["export"]
print(*wanted, *content["build-system"]["requires"], sep="\n")
' > "${TMPDIR:-/tmp}/requirements.txt"
    python -m pip install -c constraints.txt -r "${TMPDIR:-/tmp}/requirements.txt"
    ;;
package)
    python -m pip install --no-deps --no-build-isolation .
    ;;
*)
    echo "Expected torch, requirements or package, found '${1:-}'." >&2
    exit 2
    ;;
esac
