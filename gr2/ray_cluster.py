"""Ray, for whatever runs on many machines."""

import logging
import os

from gr2.errors import InputError


def start() -> None:
    """Takes the cluster of RAY_ADDRESS, or starts Ray on this machine; errors are raised, not printed as well."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
        import ray.data
    except ImportError:
        raise InputError("Ray is not installed: pip install gr2[ray]") from None
    if not ray.is_initialized():
        address = os.environ.get("RAY_ADDRESS", "local")
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.raise_original_map_exception = True  # an InputError stays one
    context.use_datasource_v2 = False  # its actors take longer to start than a small catalogue to read
    for handler in logging.getLogger("ray.data").handlers:
        if handler.name == "console":
            handler.setLevel(logging.CRITICAL)
