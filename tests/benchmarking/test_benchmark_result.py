"""The result of a benchmark in a console and in a notebook."""

from aerostat.benchmarking.benchmark_result import BenchmarkResult, Model, Network, Photograph
from aerostat.benchmarking.computer import describe_computer
from aerostat.benchmarking.latency import Latency


def result(source: str) -> BenchmarkResult:
    slow, fast = Latency(0.1, 0.09, 0.2, 5), Latency(0.01, 0.009, 0.02, 5)
    return BenchmarkResult(
        model=Model(source, "rtmdet-nano", 1, (320, 320), "float32"),
        work=None,
        uncounted="not counted",
        computer=describe_computer(),
        threads=1,
        others_cores=None,
        peaks={},
        networks=[Network("torch", "cpu", 1, slow), Network("onnx", "cpu", 8, fast)],
        photographs=[Photograph("torch", "cpu", slow, fast, fast, 12.0)],
        photograph_size=(1024, 768),
        photograph="",
        missing={},
        peak_memory_bytes=0,
        gpu_memory_bytes=None,
    )


def test_a_console_shows_the_fastest_engine() -> None:
    assert repr(result("run")) == "BenchmarkResult(rtmdet-nano at 320 px: 800.0 images/s with onnx, batch 8)"


def test_a_notebook_shows_both_tables_with_escaped_names() -> None:
    shown = result("<b>run</b>")._repr_html_()
    assert shown.count("<table>") == 2 and "100" in shown
    assert "<b>" not in shown and "&lt;b&gt;run" in shown
