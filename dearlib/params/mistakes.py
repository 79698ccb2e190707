"""What a schema finds wrong, in one line: the key, what was expected and what came."""

import difflib
import re

from pydantic import BaseModel
from pydantic_core import ErrorDetails


def line_of(error: ErrorDetails, model: type[BaseModel]) -> str:
    """`key: expected …, got …` of one pydantic error."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(error["loc"][-1]), model.model_fields, n=1)
        known = near[0] if near else f"one of {', '.join(model.model_fields)}"
        return f"{key}: expected {known}, got an unknown key"
    if error["type"] == "missing":
        return f"{key}: expected a value, got none"
    if not key:
        return error["msg"]
    if error["type"] == "string_pattern_mismatch":
        return f"{key}: expected a name of letters, digits, '_', '-' and '.', got {error['input']!r}"
    expected = re.sub(r"^Input should (be )?", "", error["msg"])
    return f"{key}: expected {expected}, got {error['input']!r}"
