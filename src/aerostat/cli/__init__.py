"""One function per verb, thin: parse, call, print. Heavy modules are imported by the verb that needs them."""

from aerostat.cli import (
    about,
    benchmark,
    completion,
    convert,
    demo,
    evaluate,
    explain,
    export,
    features,
    inspect,
    lint,
    migrate,
    predict,
    report,
    split,
    study,
    train,
)
from aerostat.cli.app import app as app
from aerostat.cli.names import as_typed as as_typed

__all__ = [
    "about",
    "app",
    "as_typed",
    "benchmark",
    "completion",
    "convert",
    "demo",
    "evaluate",
    "explain",
    "export",
    "features",
    "inspect",
    "lint",
    "migrate",
    "predict",
    "report",
    "split",
    "study",
    "train",
]
