import pytest

from gr2.devices import DEVICES, find_device, find_peak
from gr2.errors import InputError


def test_a_device_is_found_by_its_name_and_by_its_drivers():
    assert find_device("H100") is DEVICES["h100"]
    assert find_peak("NVIDIA H100 80GB HBM3") == find_device("h100").peak == 989.5e12
    assert find_peak("cpu") is None and find_peak("NVIDIA H1000") is None
    drivers = [name for device in DEVICES.values() for name in device.drivers]
    assert len(drivers) == len(set(drivers))


def test_an_unknown_device_is_refused_with_those_that_are_known():
    with pytest.raises(InputError, match="--gpu h300: expected one of b200, h200"):
        find_device("h300")
