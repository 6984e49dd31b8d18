"""VGG-M for faces: the PyTorch conversion `vgg_m_face_bn_dag`, whose names are ours."""

from voiceface.encoders.pretrained.layout import Layout, own_names

LAYOUTS = (Layout("vgg_m_face_bn_dag", own_names, r"fc8\..*"),)
