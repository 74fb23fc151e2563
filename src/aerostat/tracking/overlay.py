"""What is drawn on a frame about its tracks: identities, trails, counts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aerostat.draw.tracks import paint_line, paint_line_text, paint_trail, paint_zone, paint_zone_text
from aerostat.results.detections import Detections
from aerostat.tracking.counting import Anchor, Line, Zone, anchors
from aerostat.tracking.track_log import TrackLog
from aerostat.tracking.track_table import LineCount, ZoneCount


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """What is drawn on one frame beside its detections. It does not change when the next frame comes.

    Args:
        trails: the last points (k, 2) of each track, by its number.
        lines: with their counts.
        zones: with their counts.
    """

    trails: tuple[tuple[int, NDArray[np.float64]], ...] = ()
    lines: tuple[tuple[Line, LineCount], ...] = ()
    zones: tuple[tuple[Zone, ZoneCount], ...] = ()

    def draw(self, image_bgr: NDArray[np.uint8], detections: Detections) -> NDArray[np.uint8]:
        """Return the image with zones, lines, trails, detections with their identities, and counts.

        Args:
            image_bgr: (H, W, 3) uint8; left as it is.
            detections: of the frame, with `track_ids`.
        """
        image = image_bgr.copy()
        for zone, _ in self.zones:
            paint_zone(image, zone.corners_xy)
        for line, _ in self.lines:
            paint_line(image, line.start_xy, line.end_xy)
        for number, points_xy in self.trails:
            paint_trail(image, points_xy, number)
        image = detections.draw(image).image_bgr
        for zone, count in self.zones:
            text = f"{zone.name}: {count.inside} inside, {count.visited} in all"
            paint_zone_text(image, zone.corners_xy, text)
        for line, crossings in self.lines:
            paint_line_text(image, line.start_xy, line.end_xy, crossings.describe())
        return image


class Trails:
    """The last points of the tracks of one video, for drawing.

    Args:
        frames: for which a point is kept; a track that was not seen for so long has no trail.
        anchor: the point of a box.
    """

    def __init__(self, frames: int = 30, anchor: Anchor = "centre") -> None:
        self.frames, self.anchor = frames, anchor
        self._frame = 0
        self._points: dict[int, deque[tuple[int, float, float]]] = {}

    def update(self, detections: Detections) -> None:
        """Add the points of one frame, and drop those that are too old.

        Args:
            detections: of the next frame, with `track_ids`.
        """
        self._frame += 1
        oldest = self._frame - self.frames
        ids = [] if detections.track_ids is None else detections.track_ids.tolist()
        points = anchors(detections.boxes_xyxy, self.anchor).tolist()
        for number, (x, y) in zip(ids, points, strict=True):
            self._points.setdefault(number, deque()).append((self._frame, x, y))
        for number, trail in list(self._points.items()):
            while trail and trail[0][0] <= oldest:
                trail.popleft()
            if not trail:
                del self._points[number]

    def overlay(self, log: TrackLog) -> Overlay:
        """Return what is drawn on the last frame.

        Args:
            log: that has the counts up to the frame.
        """
        return Overlay(
            tuple((number, np.asarray(trail)[:, 1:]) for number, trail in self._points.items()),
            tuple(zip(log.options.lines, log.line_counts(), strict=True)),
            tuple(zip(log.options.zones, log.zone_counts(), strict=True)),
        )
