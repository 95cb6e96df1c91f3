"""Writes the API's OpenAPI document and the JSON schema of the live messages for the browser.

The TypeScript types are generated from these files; the test suite fails when they are stale.

    python tools/export_schemas.py [--check]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from comms.live.schemas import LiveMessages

TARGET = Path(__file__).resolve().parent.parent / "switchboard_ui" / "schema"


def documents() -> dict[str, str]:
    """Return file name -> content of all exported documents."""
    from comms.api.app import openapi_document

    live = LiveMessages.model_json_schema(mode="serialization")
    return {
        "live.json": json.dumps(live, indent=2, sort_keys=True, ensure_ascii=False) + "\n",
        "openapi.json": json.dumps(openapi_document(), indent=2, sort_keys=True, ensure_ascii=False)
        + "\n",
    }


def main() -> int:
    """Write the documents, or with `--check` only say whether they are up to date."""
    check = "--check" in sys.argv[1:]
    stale = []
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        path = TARGET / name
        if not path.exists() or path.read_text("utf-8") != text:
            stale.append(name)
            if not check:
                path.write_text(text, "utf-8")
    for name in stale:
        print(f"{'stale' if check else 'written'}: {name}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
