"""Inception-ResNet-v1: the files of facenet-pytorch, whose names are ours."""

from voiceface.encoders.pretrained.layout import Layout, own_names

LAYOUTS = (Layout("facenet-pytorch", own_names, r"logits\..*"),)
