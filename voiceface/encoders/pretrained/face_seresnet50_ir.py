"""SE-ResNet50-IR: IR_SE_50 of face.evoLVe and TreB1eN."""

from voiceface.encoders.pretrained.face_lresnet50_ir import evolve
from voiceface.encoders.pretrained.layout import Layout

LAYOUTS = (Layout("IR_SE_50 of face.evoLVe", evolve),)
