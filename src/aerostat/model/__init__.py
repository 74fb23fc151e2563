"""RTMDet: the network, its assignment and losses, and the decoding of its outputs."""

from aerostat.model.assigner import Assignment, assign
from aerostat.model.decode import candidate_boxes, decode
from aerostat.model.head import BoxOutputs
from aerostat.model.instance_head import InstanceOutputs
from aerostat.model.loss import detection_loss, instance_loss, quality_focal_loss
from aerostat.model.rtmdet import (
    ARCHITECTURES,
    MEAN_BGR,
    SIZES,
    STD_BGR,
    Outputs,
    RTMDet,
    Size,
    boxes_alone,
    build,
    decode_boxes,
    flatten_levels,
    level_points,
    normalise,
)

__all__ = [
    "ARCHITECTURES",
    "MEAN_BGR",
    "SIZES",
    "STD_BGR",
    "Assignment",
    "BoxOutputs",
    "InstanceOutputs",
    "Outputs",
    "RTMDet",
    "Size",
    "assign",
    "boxes_alone",
    "build",
    "candidate_boxes",
    "decode",
    "decode_boxes",
    "detection_loss",
    "flatten_levels",
    "instance_loss",
    "level_points",
    "normalise",
    "quality_focal_loss",
]
