"""Freed memory that the process keeps: no page faults while it does, and the usual way afterwards."""

import subprocess
import sys

import pytest

from aerostat.training.glibc import glibc, kept_memory

FAULTS = """
import resource
import torch
from aerostat.training.glibc import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(3):
        torch.ones(16 << 20)  # 64 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

usual = faults()
with kept_memory():
    for _ in range(5):  # aligned blocks fit into freed ones only when those have grown together
        faults()
    kept, most = faults(), resident()
print(usual, kept, faults(), most - resident())
"""


@pytest.mark.skipif(glibc() is None, reason="the C library of this system is another one")
def test_what_is_freed_is_found_warm_and_goes_back_at_the_end():
    out = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    usual, kept, after, returned = map(int, out.split())
    assert usual > 500 and after > 500  # huge pages of the system would make them fewer, never none
    assert kept < usual / 20
    assert returned > 32 << 20


def test_without_glibc_it_does_nothing(monkeypatch):
    monkeypatch.setattr("aerostat.training.glibc.glibc", lambda: None)
    with kept_memory():
        pass


def test_an_error_inside_passes_through():
    with pytest.raises(ZeroDivisionError), kept_memory():
        raise ZeroDivisionError
