"""RF-DETR: nano with random weights, at its own 384 px; its training needs pretrained weights of a hub."""

from __future__ import annotations

from answers import Round, answer, multiply_adds


def start(engine: str, photograph: str, folder: str) -> tuple[float, Round]:
    """Return multiply-adds and one round: a photograph to detections."""
    import torch
    from rfdetr import RFDETRNano

    model = RFDETRNano(pretrain_weights=None, device="cpu")
    net, side = model.model.model.eval(), model.model.resolution
    macs = multiply_adds(net, lambda: net(torch.zeros(1, 3, side, side)))
    return macs, lambda: model.predict(photograph, threshold=0.25)


def train(data: str, folder: str, epochs: int) -> None:
    """Refuse: from random weights its backbone would not be the one that it is published with."""
    raise SystemExit(
        "its training starts from pretrained weights of a hub, which random ones do not stand for"
    )


if __name__ == "__main__":
    answer(start, train)
