"""What a device holds and can do, by its data sheet: memory, bandwidth, peak in bfloat16 without sparsity."""

from dataclasses import dataclass
from math import inf

from gr2.errors import InputError


@dataclass(frozen=True)
class Device:
    memory: float  # bytes
    peak: float  # FLOP/s, of bfloat16 with float32 sums; cpu: of float32
    bandwidth: float  # bytes/s of its memory
    source: str
    drivers: tuple[str, ...]  # its names as the driver gives them

    @property
    def on_cpu(self) -> bool:
        return self is DEVICES["cpu"]


def data_sheet(gigabytes: float, teraflops: float, gigabytes_a_second: float, source: str, *drivers: str) -> Device:
    return Device(gigabytes * 2**30, teraflops * 1e12, gigabytes_a_second * 1e9, source, drivers)


DEVICES = {
    "b200": data_sheet(180, 2250, 7700, "NVIDIA HGX B200 data sheet, a GPU of eight", "NVIDIA B200"),
    "h200": data_sheet(141, 989.5, 4800, "NVIDIA H200 data sheet, SXM", "NVIDIA H200"),
    "h100": data_sheet(80, 989.5, 3350, "NVIDIA H100 data sheet, SXM", "NVIDIA H100 80GB HBM3"),
    "h100-pcie": data_sheet(80, 756, 2000, "NVIDIA H100 data sheet, PCIe", "NVIDIA H100 PCIe"),
    "a100-80": data_sheet(
        80, 312, 2039, "NVIDIA A100 data sheet, 80 GB SXM", "NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB PCIe"
    ),
    "a100-40": data_sheet(
        40, 312, 1555, "NVIDIA A100 data sheet, 40 GB SXM", "NVIDIA A100-SXM4-40GB", "NVIDIA A100-PCIE-40GB"
    ),
    "l40s": data_sheet(48, 362, 864, "NVIDIA L40S data sheet", "NVIDIA L40S"),
    "l4": data_sheet(24, 121, 300, "NVIDIA L4 data sheet", "NVIDIA L4"),
    "a10g": data_sheet(24, 70, 600, "NVIDIA A10G data sheet: 70 dense, 140 with sparsity", "NVIDIA A10G"),
    "rtx4090": data_sheet(
        24, 165.2, 1008, "NVIDIA Ada GPU architecture white paper, appendix A, float32 sums", "NVIDIA GeForce RTX 4090"
    ),
    "cpu": data_sheet(inf, 0.1, 20, "a core with AVX-512, float32, an order of magnitude; memory: the machine's"),
}


def find_device(name: str) -> Device:
    if name.lower() not in DEVICES:
        raise InputError(f"--gpu {name}: expected one of {', '.join(DEVICES)}")
    return DEVICES[name.lower()]


def find_peak(driver_name: str) -> float | None:
    """The peak of the device that a driver calls by this name; None for a CPU, whose peak nobody states."""
    return next((device.peak for device in DEVICES.values() if driver_name in device.drivers), None)
