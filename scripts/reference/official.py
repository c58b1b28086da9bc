"""Configurations of the official networks; docs/model-format.md describes them."""

UNET_V3 = dict(
    c_in=256, c_out=256, num_labels=8192, c_r=64, patch_size=2, c_cond=1024, c_hidden=[640, 1280, 1280],
    nhead=[-1, 16, 16], blocks=[6, 16, 6], level_config=["CT", "CTA", "CTA"], byt5_embd=2560, clip_embd=1024,
    clip_image_embd=1024, clip_seq_len=4, kernel_size=3,
)  # fmt: skip
VQGAN_F4 = dict(levels=2, bottleneck_blocks=12, c_hidden=384, c_latent=4, codebook_size=8192, scale_factor=0.3764)
BYT5_XL = dict(
    d_model=2560, d_kv=64, d_ff=6720, num_layers=36, num_heads=32, vocab_size=384,
    relative_attention_num_buckets=32, relative_attention_max_distance=128, layer_norm_epsilon=1e-6,
)  # fmt: skip
CLIP_H_TEXT = dict(width=1024, layers=24, heads=16, mlp_width=4096, context_length=77, vocab_size=49408, embed_dim=1024)
CLIP_H_IMAGE = dict(width=1280, layers=32, heads=16, mlp_width=5120, patch_size=14, image_size=224, embed_dim=1024)
PRIOR_V1 = dict(c_in=1024, c_hidden=1280, c_cond=1024, c_r=64, num_layers=48)
