from gr2.prompts.checks import check_room  # noqa: F401  TEMPORARY, until imports are renamed
