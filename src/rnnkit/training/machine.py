"""What the machine gives: device, number format, threads, and a C allocator that suits training."""

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from rnnkit.errors import ConfigError
from rnnkit.training.config import TrainingConfig

BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16")
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def choose_device(wanted: str) -> str:
    """Return "cpu" or "cuda", given one of them or "auto".

    Raises:
        ConfigError: If the device asked for is not there.
    """
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device is 'cuda', but torch sees no GPU; leave it out, or use 'cpu'")
    if wanted not in ("cpu", "cuda"):
        raise ConfigError(f"device is {wanted!r}; expected cpu, cuda or auto")
    return wanted


def choose_precision(config: TrainingConfig, device: str) -> str:
    """Return "32-true" or "bf16-mixed": what is asked for, or bfloat16 where the hardware multiplies it."""
    if config.precision != "auto":
        return config.precision
    fast = torch.cuda.is_bf16_supported() if device == "cuda" else _cpu_multiplies_bfloat16()
    return "bf16-mixed" if fast else "32-true"


def _cpu_multiplies_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text().split()
    except OSError:
        return False
    return any(flag in flags for flag in BFLOAT16_FLAGS) and _lstm_runs_in_bfloat16()


def _lstm_runs_in_bfloat16() -> bool:
    """Try it: on some processors oneDNN has the flag but not the primitive."""
    with torch.random.fork_rng(devices=[]):
        layer = torch.nn.LSTM(8, 16, batch_first=True)
    try:
        with torch.autocast("cpu", torch.bfloat16):
            outputs, _ = layer(torch.zeros(2, 3, 8))
        outputs.float().sum().backward()
    except RuntimeError:
        return False
    return True


def set_threads(config: TrainingConfig, *, processes: int = 1) -> int:
    """Use the threads asked for, or one a core, shared by the processes of this machine; return how many."""
    torch.set_num_threads(config.threads or max(1, len(os.sched_getaffinity(0)) // processes))
    return torch.get_num_threads()


def resident_megabytes() -> float:
    """Return how much memory the process holds now, or 0 where the system does not say (statm is Linux's)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def most_resident_megabytes() -> float:
    """Return the most memory that the process held, or 0 where the system does not say.

    Not getrusage's number, which begins with that of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    kibibytes = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(kibibytes[0]) / 2**10 if kibibytes else 0.0


@contextmanager
def process_settings_kept() -> Iterator[None]:
    """Give the caller's random numbers and number of threads back after the block.

    Yields:
        Once.
    """
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            yield
    finally:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Make glibc keep freed memory: it maps and unmaps each large tensor otherwise, page by page, in every step.

    Process-wide, so only training does it: LSTM training is 1.17 times as fast, GRU's 1.03 to 1.06 times
    (benchmarks/results/training-speed.jsonl).
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(M_TOP_PAD, 64 * 2**20)
