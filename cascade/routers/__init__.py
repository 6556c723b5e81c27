"""Routers by name: each file here registers its own; nothing else knows them."""

from cascade.routers.base import (
    ROUTERS,
    Lesson,
    Router,
    TooFewToLearn,
    find_router,
    kind_and_tap,
    name_at,
    pooled,
    router_names,
    system_of,
    systems,
)

from cascade.routers.selector import Selector  # isort: skip  (tables keep this order)
from cascade.routers.gain import Gain  # isort: skip
from cascade.routers.max_softmax import MaxSoftmax  # isort: skip
from cascade.routers.margin import Margin  # isort: skip

__all__ = [
    "ROUTERS", "Gain", "Lesson", "Margin", "MaxSoftmax", "Router", "Selector",
    "TooFewToLearn", "find_router", "kind_and_tap", "name_at", "pooled",
    "router_names", "system_of", "systems"]
