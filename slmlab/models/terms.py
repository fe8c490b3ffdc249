"""Gemma's terms of use: nothing of Gemma loads from a wheel before the student has accepted them here."""

import json
from datetime import UTC, datetime

from .. import places
from .errors import TermsError

ADDRESS = "ai.google.dev/gemma/terms"
NOTICE = (
    f"Whoever uses Gemma, or passes on it or what was made from it, is bound by Google's Gemma Terms of Use "
    f"({ADDRESS}), the prohibited uses in them included. "
    f"Gemma is provided under and subject to the Gemma Terms of Use found at {ADDRESS}"
)


def accept_gemma_terms() -> None:
    """Show the notice, and record in places.records() that the terms were accepted, and when."""
    print(NOTICE)
    entry = {"terms": ADDRESS, "accepted": datetime.now(UTC).isoformat(timespec="seconds")}
    with places.replacing(_record()) as new:
        new.write_text(json.dumps(entry, indent=1) + "\n", encoding="utf-8", newline="\n")


def gemma_accepted() -> bool:
    return _record().is_file()


def require_gemma(name: str) -> None:
    """TermsError unless the terms were accepted on this machine."""
    if not gemma_accepted():
        raise TermsError(
            f"{name} waits for your acceptance of its terms. {NOTICE}. "
            "Next: read them, then run `slmlab models --accept-gemma-terms` or models.accept_gemma_terms()"
        )


def _record():
    return places.records() / "gemma_terms.json"
