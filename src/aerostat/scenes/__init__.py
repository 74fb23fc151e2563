"""Drawn sample data: `write_balloons` writes annotated scenes, `draw_scene` draws one in memory.

The rest of the folder is for these two functions.
"""

from aerostat.scenes.balloons import draw_scene, write_balloons

__all__ = ["draw_scene", "write_balloons"]
