"""The verb `benchmark`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from aerostat.cli import console
from aerostat.cli.app import app
from aerostat.cli.console import document
from aerostat.cli.options import Device, InputSize, JsonFlag


@app.command(sort_key=9.5, usage="Usage: aerostat benchmark WEIGHTS [OPTIONS]")
def benchmark(
    weights: str,
    /,
    *,
    engine: Annotated[
        list[Literal["torch", "onnx", "openvino"]] | None, Parameter(consume_multiple=True, negative=())
    ] = None,
    batch: Annotated[list[int], Parameter(consume_multiple=True, negative=())] = [1, 8],  # noqa: B006
    input_size: InputSize = None,
    threads: int | None = None,
    seconds: float = 20.0,
    image: Path | None = None,
    device: Device = "auto",
    json_: JsonFlag = False,
) -> None:
    """Measure the speed and memory of a detector on this machine.

    Prints parameters, multiply-adds, memory, the latency of each installed engine, and its share of the
    machine's peak. Close other programs first.

    Parameters
    ----------
    weights:
        Run directory, weights file, exported model or name of the zoo.
    engine:
        What runs the network; by default each that is installed. Only torch uses another device than the CPU.
    batch:
        Images at a time; one number or several.
    threads:
        Processors that each engine may use; by default all.
    seconds:
        Time for measuring, approximately; slow networks take longer.
    image:
        Photograph to measure from file to detections; by default a drawn scene of 1024 x 768 pixels.
    """
    from aerostat.benchmarking.benchmark import benchmark as measured

    report = measured(
        weights,
        engines=engine,
        batches=batch,
        input_size=input_size,
        device=device,
        threads=threads,
        seconds=seconds,
        image=image,
    )
    if json_:
        print(document(report.to_dict()))
    elif console.stdout().is_terminal:
        console.stdout().print(report.render())
    else:
        print("\n".join(report.lines()))
