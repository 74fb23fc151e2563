"""Experiment trackers that a run is logged to: TensorBoard, MLflow, Weights & Biases."""

from aerostat.training.logs.delivery import Delivery
from aerostat.training.logs.mlflow import MLflow
from aerostat.training.logs.tensorboard import TensorBoard
from aerostat.training.logs.wandb import WandB

__all__ = ["Delivery", "MLflow", "TensorBoard", "WandB"]
