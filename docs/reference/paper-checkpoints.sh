# From the downloads to a checkpoint of each paper, recipe by recipe: docs/paper-weights.md explains it.
# Names in capitals and *.csv are yours. None of these chains has been run to its end: the data and the weights are not distributed.
# Run the lines of one section in order, from a folder for corpora/, runs/ and the imported weights. take_network.py is on
# that page. What stands for one recipe after its training (check to pack) is the same for the others: another folder, another name.

# --- Learnable PINs
# LISTS: the trial lists of the PINs authors and their successors.
voiceface prepare voxceleb --voxceleb1 VOX1 --faces1 unzippedFaces --split pins --bundle video --margin 1.36 corpora/pins
voiceface check corpora/pins --deep
voiceface check corpora/pins --trials LISTS/*.txt --identities vox1_meta.csv

voiceface import-weights face_vggm vgg_m_face_bn_dag.pth vggm.safetensors
voiceface import-weights voice_vggvox vggvox_ver_net.mat vggvox.safetensors
voiceface fit --model pins --preset paper --data corpora/pins --gpus 1 --pretrained vggm.safetensors --pretrained vggvox.safetensors --out runs/pins
voiceface check corpora/pins --against runs/pins/checkpoint
voiceface test runs/pins/checkpoint --data corpora/pins --gpus 1 --out again.json
voiceface embed runs/pins/checkpoint --data corpora/pins --gpus 1 --out pins.npz
voiceface score pins.npz --identities vox1_meta.csv --trials LISTS/*.txt --protocol pins --out pins-lists.json
voiceface compare runs/pins --against paper
voiceface compare pins-lists.json --against paper --protocol pins
voiceface pack runs/pins/checkpoint --name pins-voxceleb1

# --- DRL
# The same people as PINs, but pairs of any two clips of a person, so no --bundle video; silence is cut out, as the paper says.
voiceface prepare voxceleb --voxceleb1 VOX1 --faces1 unzippedFaces --split pins --vad webrtc corpora/drl
voiceface check corpora/drl --deep
voiceface check corpora/drl --trials LISTS/*.txt --identities vox1_meta.csv
voiceface import-weights face_inception_resnet_v1 20180402-114759-vggface2.pt inception.safetensors
voiceface fit --model dimnet_i --preset paper --data corpora/drl --gpus 1 --model.dim 512 --model.voice_options '{"dim": 512}' --out runs/dimnet512
python take_network.py runs/dimnet512 voice dimnet512.safetensors
voiceface fit --model drl --preset paper --data corpora/drl --gpus 1 --pretrained inception.safetensors --model.voice_weights dimnet512.safetensors --out runs/drl
voiceface check corpora/drl --against runs/drl/checkpoint
voiceface test runs/drl/checkpoint --data corpora/drl --gpus 1 --out again.json
voiceface embed runs/drl/checkpoint --data corpora/drl --gpus 1 --out drl.npz
voiceface score drl.npz --identities vox1_meta.csv --trials LISTS/*.txt --protocol drl --out drl-lists.json
voiceface compare runs/drl --against paper
voiceface compare drl-lists.json --against paper --protocol drl
voiceface pack runs/drl/checkpoint --name drl-voxceleb1

# --- SVHF-Net
# people.csv: the published 924 / 112 / 189 people (docs/voxceleb.md); --name lets `compare` recognise them.
voiceface prepare voxceleb --voxceleb1 VOX1 --faces1 unzippedFaces --vggface1 VGGFACE1 --split people.csv --name voxceleb1-svhf --margin 1.36 corpora/svhf
voiceface check corpora/svhf --deep
voiceface import-weights face_vggm vgg_m_face_bn_dag.pth vggm.safetensors
voiceface import-weights voice_vggvox vggvox_ident_net.mat vggvox-linear.safetensors --options '{"activation": false}'
voiceface fit --model svhf --preset paper --data corpora/svhf --gpus 1 --pretrained vggm.safetensors --pretrained vggvox-linear.safetensors --out runs/svhf
voiceface fit --model svhf_f2v --preset paper --data corpora/svhf --gpus 1 --pretrained vggm.safetensors --pretrained vggvox-linear.safetensors --out runs/svhf_f2v
voiceface fit --model svhf_nway --preset paper --data corpora/svhf --gpus 1 --pretrained vggm.safetensors --pretrained vggvox-linear.safetensors --out runs/svhf_nway
voiceface check corpora/svhf --against runs/svhf/checkpoint
voiceface test runs/svhf/checkpoint --data corpora/svhf --gpus 1 --out again.json
voiceface compare runs/svhf runs/svhf_f2v --against paper
voiceface pack runs/svhf/checkpoint --name svhf-voxceleb1

# --- DIMNet
# No pretrained networks. The paper filtered its VGGFace pictures by hand; these are not.
voiceface prepare voxceleb --voxceleb1 VOX1 --vggface1 VGGFACE1 --split svhf --vad webrtc corpora/dimnet
voiceface check corpora/dimnet --deep
voiceface fit --model dimnet_i --preset paper --data corpora/dimnet --gpus 1 --out runs/dimnet_i
voiceface fit --model dimnet_ig --preset paper --data corpora/dimnet --gpus 1 --out runs/dimnet_ig
voiceface fit --model dimnet_g --preset paper --data corpora/dimnet --gpus 1 --out runs/dimnet_g
voiceface fit --model dimnet_n --preset paper --data corpora/dimnet --gpus 1 --out runs/dimnet_n
voiceface fit --model dimnet_in --preset paper --data corpora/dimnet --gpus 1 --out runs/dimnet_in
voiceface fit --model dimnet_gn --preset paper --data corpora/dimnet --gpus 1 --out runs/dimnet_gn
voiceface fit --model dimnet_ign --preset paper --data corpora/dimnet --gpus 1 --out runs/dimnet_ign
voiceface check corpora/dimnet --against runs/dimnet_ig/checkpoint
voiceface test runs/dimnet_ig/checkpoint --data corpora/dimnet --gpus 1 --out again.json
voiceface compare runs/dimnet_i runs/dimnet_ig --against paper
voiceface pack runs/dimnet_ig/checkpoint --name dimnet-ig-voxceleb1

# --- Kim et al.
# The test people of the paper are not published. 50 of the 1,001 training people validate.
voiceface prepare voxceleb --voxceleb1 VOX1 --faces1 unzippedFaces --split kim --margin 1.5 --validation 50 corpora/kim
voiceface check corpora/kim --deep
voiceface import-weights face_vgg16 model.safetensors vgg16.safetensors
voiceface import-weights face_vgg16 vgg_face_dag.pth vggface.safetensors
voiceface import-weights voice_soundnet8 sound8.npy soundnet.safetensors
voiceface import-weights voice_vggvox vggvox_ver_net.mat vggvox.safetensors
voiceface fit --model kim --preset paper --data corpora/kim --gpus 1 --pretrained vgg16.safetensors --pretrained soundnet.safetensors --out runs/kim
voiceface fit --model kim_f2v --preset paper --data corpora/kim --gpus 1 --pretrained vgg16.safetensors --pretrained soundnet.safetensors --out runs/kim_f2v
voiceface fit --model kim_siamese --preset paper --data corpora/kim --gpus 1 --pretrained vgg16.safetensors --pretrained soundnet.safetensors --out runs/kim_siamese
voiceface fit --model kim_classifier --preset paper --data corpora/kim --gpus 1 --pretrained vgg16.safetensors --pretrained soundnet.safetensors --out runs/kim_classifier
voiceface fit --model kim_vggvox --preset paper --data corpora/kim --gpus 1 --pretrained vggface.safetensors --pretrained vggvox.safetensors --out runs/kim_vggvox
voiceface check corpora/kim --against runs/kim/checkpoint
voiceface test runs/kim/checkpoint --data corpora/kim --gpus 1 --out again.json
voiceface embed runs/kim/checkpoint --data corpora/kim --gpus 1 --out kim.npz
voiceface score kim.npz --protocol kim --out kim-protocol.json
voiceface compare runs/kim runs/kim_f2v runs/kim_siamese runs/kim_classifier runs/kim_vggvox --against paper
voiceface compare kim-protocol.json --against paper --protocol kim,kim_gallery_250,kim_gallery_1000,kim_gallery_5000
voiceface pack runs/kim/checkpoint --name kim-voxceleb1

# --- TriNet
# LRESNET50_VGGFACE2.pth: no public file is known. The last lines are for the two rows that need a corpus of their own.
voiceface prepare voxceleb --voxceleb2 VOX2 --vggface2 VGGFACE2 --voxceleb1 VOX1 --vggface1 VGGFACE1 --split trinet corpora/trinet
voiceface check corpora/trinet --deep
voiceface import-weights voice_thin_resnet34 weights.h5 thin.safetensors
voiceface import-weights face_lresnet50_ir LRESNET50_VGGFACE2.pth lresnet.safetensors
voiceface fit --model trinet --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --pretrained lresnet.safetensors --out runs/trinet
voiceface check corpora/trinet --against runs/trinet/checkpoint
voiceface test runs/trinet/checkpoint --data corpora/trinet --gpus 1 --out again.json
voiceface embed runs/trinet/checkpoint --data corpora/trinet --gpus 1 --out trinet.npz
voiceface score trinet.npz --identities vox1_meta.csv --protocol trinet --out trinet-protocol.json
voiceface compare runs/trinet --against paper
voiceface compare trinet-protocol.json --against paper --protocol trinet,trinet_gallery
voiceface pack runs/trinet/checkpoint --name trinet-voxceleb2
voiceface import-weights face_lresnet50_ir backbone_ir50_ms1m_epoch120.pth ms1m.safetensors
voiceface fit --model trinet_ms1m --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --pretrained ms1m.safetensors --out runs/trinet_ms1m
voiceface fit --model trinet_crop --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --pretrained lresnet.safetensors --out runs/trinet_crop
voiceface fit --model trinet_euclidean --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --pretrained lresnet.safetensors --out runs/trinet_euclidean
voiceface fit --model trinet_s1 --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --pretrained lresnet.safetensors --out runs/trinet_s1
voiceface fit --model trinet_s512 --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --pretrained lresnet.safetensors --out runs/trinet_s512
voiceface fit --model trinet_trainable --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --pretrained lresnet.safetensors --out runs/trinet_trainable
voiceface fit --model trinet_frozenface --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --pretrained lresnet.safetensors --out runs/trinet_frozenface
voiceface fit --model trinet_noface --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --out runs/trinet_noface
voiceface fit --model trinet_scratch --preset paper --data corpora/trinet --gpus 1 --out runs/trinet_scratch
voiceface import-weights face_vggm vgg_m_face_bn_dag.pth vggm.safetensors
voiceface fit --model trinet_vggm --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --pretrained vggm.safetensors --out runs/trinet_vggm
voiceface prepare voxceleb --voxceleb2 VOX2 --vggface2 VGGFACE2 --voxceleb1 VOX1 --vggface1 VGGFACE1 --split trinet --margin 1.1 corpora/trinet11
voiceface fit --model trinet_box11 --preset paper --data corpora/trinet11 --gpus 1 --pretrained thin.safetensors --pretrained lresnet.safetensors --out runs/trinet_box11
voiceface prepare voxceleb --voxceleb2 VOX2 --vggface2 VGGFACE2 --voxceleb1 VOX1 --vggface1 VGGFACE1 --split trinet --faces asis --margin 1 corpora/uncropped
voiceface fit --model trinet_uncropped --preset paper --data corpora/uncropped --gpus 1 --pretrained thin.safetensors --pretrained lresnet.safetensors --out runs/trinet_uncropped
voiceface fit --model dimnet_i --preset paper --data corpora/trinet --gpus 1 --out runs/face_dimnet
voiceface fit --model dimnet_i --preset paper --data corpora/trinet --gpus 1 --model.face_encoder face_seresnet50 --out runs/face_seresnet50
python take_network.py runs/face_dimnet face face_dimnet.safetensors
python take_network.py runs/face_seresnet50 face face_seresnet50.safetensors
voiceface fit --model trinet_dimnet --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --model.face_weights face_dimnet.safetensors --out runs/trinet_dimnet
voiceface fit --model trinet_seresnet50 --preset paper --data corpora/trinet --gpus 1 --pretrained thin.safetensors --model.face_weights face_seresnet50.safetensors --out runs/trinet_seresnet50

# --- Horiguchi et al.
# people.csv: a manifest of your own people (docs/tutorial.md).
voiceface prepare folder people.csv corpora/horiguchi --faces detect
voiceface check corpora/horiguchi --deep
voiceface import-weights face_lresnet50_ir backbone_ir50_ms1m_epoch120.pth ms1m.safetensors
voiceface import-weights voice_vggvox vggvox_ident_net.mat vggvox-linear.safetensors --options '{"activation": false}'
voiceface fit --model horiguchi --preset paper --data corpora/horiguchi --gpus 1 --pretrained ms1m.safetensors --pretrained vggvox-linear.safetensors --out runs/horiguchi
voiceface check corpora/horiguchi --against runs/horiguchi/checkpoint
voiceface test runs/horiguchi/checkpoint --data corpora/horiguchi --gpus 1 --out again.json
voiceface compare runs/horiguchi --against paper
voiceface pack runs/horiguchi/checkpoint --name horiguchi-own

# --- Handing one on, once the terms of the data and of the starting weights are settled
voiceface push runs/pins/checkpoint OWNER/pins-voxceleb1 --private
