"""The old names of the files' readers."""

from gr2.files.interactions import SPLITS, read_events, read_interactions  # noqa: F401
from gr2.files.items import read_items  # noqa: F401
from gr2.files.rankings import read_rankings  # noqa: F401
from gr2.files.semantic_ids import read_semantic_ids  # noqa: F401
from gr2.files.slates import SLATE_SPLITS, check_slates  # noqa: F401
from gr2.files.slates import read_slate_table as read_slates  # noqa: F401
