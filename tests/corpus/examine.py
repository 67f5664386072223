"""Meet the faults of one kind, and print as JSON what each was given, how long it took, and the peak of memory.

``python -m tests.corpus.examine models|regressors|stores FOLDER``
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.corpus import models, stores
from tests.scenes import own_peak

KINDS: dict[str, tuple[dict[str, Any], Callable[[Path], None]]] = {
    "models": (models.MODELS, models.load_model),
    "regressors": (models.REGRESSORS, models.load_regressor),
    "stores": (stores.STORES, stores.load_store),
}


def examine(kind: str, folder: Path) -> dict[str, Any]:
    """What each fault was given."""
    faults, load = KINDS[kind]
    reasons = {}
    for name, (make, _) in faults.items():
        path = folder / name
        make(path)
        began = time.monotonic()
        try:
            load(path)
            reason = "nothing"
        except ValueError as error:
            reason = f"{type(error).__module__}: {error}"
        reasons[name] = {"reason": reason, "seconds": time.monotonic() - began}
    return {"faults": reasons, "peak": own_peak()}


if __name__ == "__main__":
    print(json.dumps(examine(sys.argv[1], Path(sys.argv[2]))))
