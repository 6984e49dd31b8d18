"""SE-ResNet50-IR: IR_SE_50 of face.evoLVe and TreB1eN."""

from voiceface.importers.face_lresnet50_ir import evolve
from voiceface.importers.layout import Layout

LAYOUTS = (Layout("IR_SE_50 of face.evoLVe", evolve),)
