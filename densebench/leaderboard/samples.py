"""A few of the pictures that a test left, small enough to stand in the page itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

from PIL import Image

from densebench.leaderboard.entries import Entry

PICTURES_PER_ROW = 3
_LONGER_SIDE = 480  # pixels
_MOST_BYTES = 2_000_000  # of all pictures in a page


@dataclass
class Samples:
    """Hands out pictures until the page holds enough of them."""

    taken: int = 0

    def of(self, entry: Entry) -> tuple[tuple[str, str], ...]:
        """(file name, data URI) of the first pictures in `overlays` in the work directory of the entry's tests."""
        folders = dict.fromkeys(record.path.parent.parent / "overlays" for record in entry.records)
        files = [file for folder in folders for file in sorted(folder.glob("*.jpg"))]
        found = []
        for file in files[:PICTURES_PER_ROW]:
            if self.taken >= _MOST_BYTES:
                break
            try:
                with Image.open(file) as picture:
                    small = picture.convert("RGB")
            except OSError:  # not a whole picture: the row does without
                continue
            small.thumbnail((_LONGER_SIDE, _LONGER_SIDE))
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=72)
            text = base64.b64encode(buffer.getvalue()).decode("ascii")
            self.taken += len(text)
            found.append((file.name, f"data:image/jpeg;base64,{text}"))
        return tuple(found)
