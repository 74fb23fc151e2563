"""The contract of each layout for other runtimes."""

from __future__ import annotations

from aerostat.deploy.layouts.contract import Contract, Layout
from aerostat.deploy.layouts.deepstream import DEEPSTREAM
from aerostat.deploy.layouts.mmdeploy import MMDEPLOY
from aerostat.deploy.layouts.tensorrt import TENSORRT
from aerostat.deploy.layouts.yolo import YOLO

CONTRACTS: dict[Layout, Contract] = {
    contract.layout: contract for contract in (MMDEPLOY, DEEPSTREAM, YOLO, TENSORRT)
}
"""All but aerostat's own, which `aerostat.inference` runs."""
