"""Operations that may give other results in each run, after torch's documentation of use_deterministic_algorithms."""

from __future__ import annotations

# Names without namespace and overload; an in-place variant ends in `_`.
RACING = frozenset((
    "index_put", "_index_put_impl", "_unsafe_index_put", "index_add", "index_copy", "index_reduce", "put", "scatter",
    "scatter_add", "scatter_reduce", "_embedding_bag_backward", "_embedding_bag_dense_backward", "embedding_dense_backward",
    "_embedding_bag_per_sample_weights_backward", "embedding_backward", "gather_backward", "take_along_dim_backward",
    "index_select_backward", "upsample_linear1d_backward", "upsample_bilinear2d_backward",
    "_upsample_bilinear2d_aa_backward", "upsample_bicubic2d_backward", "_upsample_bicubic2d_aa_backward",
    "upsample_trilinear3d_backward", "upsample_nearest1d_backward", "upsample_nearest2d_backward",
    "upsample_nearest3d_backward", "_upsample_nearest_exact2d_backward", "grid_sampler_2d_backward",
    "grid_sampler_3d_backward", "grid_sampler_2d_cudnn_backward", "cudnn_grid_sampler_backward", "avg_pool3d_backward",
    "max_pool3d_with_indices_backward", "adaptive_avg_pool2d_backward", "_adaptive_avg_pool2d_backward",
    "_adaptive_avg_pool3d_backward", "adaptive_max_pool2d_backward", "fractional_max_pool2d_backward",
    "fractional_max_pool3d_backward", "max_pool2d_with_indices_backward", "max_unpool2d", "max_unpool3d",
    "reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward", "replication_pad1d_backward",
    "replication_pad2d_backward", "replication_pad3d_backward", "nll_loss2d_forward", "nll_loss2d_backward", "_ctc_loss",
    "_ctc_loss_backward", "_cudnn_ctc_loss", "multi_margin_loss", "histc", "bincount", "kthvalue", "cumsum", "convolution",
    "convolution_backward", "cudnn_convolution", "cudnn_convolution_transpose", "_cudnn_rnn", "_cudnn_rnn_backward",
    "_scaled_dot_product_flash_attention_backward", "_scaled_dot_product_efficient_attention_backward",
    "_scaled_dot_product_cudnn_attention_backward", "_flash_attention_backward", "_efficient_attention_backward",
    "sparse_mask", "_sparse_addmm", "native_group_norm_backward",
))  # fmt: skip
# The others race on a GPU alone.
ON_CPU = frozenset(("index_put", "_index_put_impl", "_unsafe_index_put", "put"))


def may_race(op: str, *, on_gpu: bool) -> bool:
    """Returns whether an operation (`aten.index_put_.default`) may give other results in each run."""
    parts = op.split(".")
    name = (parts[1] if len(parts) > 1 else parts[0]).rstrip("_")
    return name in RACING and (on_gpu or name in ON_CPU)
