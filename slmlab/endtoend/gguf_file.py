"""The model as a GGUF for llama.cpp: the ternary matrices of stored() as TQ2_0, a random embedding and head in Q6_K.

The blocks are written as they lie in the file: no float32 matrix is ever made. GGUF names and sizes are llama.cpp's for
its architecture `bitnet`; the embedding is the head too, as there is no `output.weight`. The vocabulary has the right
number of tokens, "t0", "t1" ..., and nothing to cut text by: prompts come as ids.
"""

from pathlib import Path

import numpy as np

from slmlab import places

from .model import SCALE, codes

MATRICES = {  # llama.cpp's name -> the module in a block of transformers
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
NORMS = {
    "attn_norm": "input_layernorm",
    "attn_sub_norm": "self_attn.attn_sub_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_sub_norm": "mlp.ffn_sub_norm",
}
COLUMNS = 256  # of a block, in TQ2_0 and Q6_K
TQ2_0_BYTES, Q6_K_BYTES = 66, 210  # of a block
TOKEN_BYTES = 24  # of the vocabulary, a token: at most


def file_bytes(config) -> int:
    """Bytes that write() writes at most."""
    hidden, inner = config.hidden_size, config.intermediate_size
    kv = hidden // config.num_attention_heads * config.num_key_value_heads
    weights = 2 * hidden * (hidden + kv) + 3 * hidden * inner
    blocks = config.num_hidden_layers * (weights // COLUMNS * TQ2_0_BYTES + 4 * (3 * hidden + inner))
    embedding = config.vocab_size * (hidden // COLUMNS * Q6_K_BYTES + TOKEN_BYTES)
    return blocks + embedding + 10**6  # names, and what fills up to the next 32 bytes


def write(path: Path, model) -> None:
    """Write stored()'s `model`. What was at `path` stays until the new file is complete.

    ValueError: a matrix whose columns no blocks of 256 divide.
    """
    import gguf
    from gguf import GGMLQuantizationType as Type

    config = model.config
    tensors = [("token_embd", model.model.embed_tokens, Type.Q6_K), ("output_norm", model.model.norm, Type.F32)]
    for number, block in enumerate(model.model.layers):
        for names, type in ((NORMS, Type.F32), (MATRICES, Type.TQ2_0)):
            tensors += [(f"blk.{number}.{name}", block.get_submodule(its), type) for name, its in names.items()]
    with places.replacing(path) as new:
        writer = gguf.GGUFWriter(new, "bitnet")
        try:
            _add_shape(writer, config)
            for name, module, type in tensors:
                shape = _shape(module)
                elements, size = gguf.GGML_QUANT_SIZES[type]
                if shape[-1] % elements:
                    raise ValueError(
                        f"{name} has {shape[-1]} columns, wanted a multiple of {elements}: change the model"
                    )
                bytes_ = int(np.prod(shape)) // elements * size
                writer.add_tensor_info(f"{name}.weight", shape, np.dtype(np.float32), bytes_, raw_dtype=type)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_ti_data_to_file()
            dice = np.random.default_rng(0)
            for _, module, type in tensors:
                writer.write_tensor_data(_values(module, type.name, dice))
        finally:
            writer.close()


def _add_shape(writer, config) -> None:
    import gguf

    writer.add_file_type(gguf.LlamaFileType.MOSTLY_TQ2_0)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([f"t{id}" for id in range(config.vocab_size)])
    writer.add_token_merges(["t 0"])  # there must be one


def _shape(module) -> tuple[int, ...]:
    return (module.out_features, module.in_features) if hasattr(module, "weight_scale") else tuple(module.weight.shape)


def _values(module, type: str, dice: np.random.Generator) -> np.ndarray:
    """The bytes of a tensor, uint8 (N, bytes of a row), or a norm's float32 (K,)."""
    from cython_kernels import layouts

    if type == "F32":
        return module.weight.float().numpy()
    if type == "TQ2_0":
        return layouts.tq2_0_pack(codes(module), SCALE)
    return _random_q6_k(*module.weight.shape, dice)


def _random_q6_k(N: int, K: int, dice: np.random.Generator) -> np.ndarray:
    """uint8 (N, K / 256 * 210): blocks of 192 bytes of 6-bit codes, 16 int8 scales, a float16; some 0.02 in size."""
    blocks = np.empty((N, K // COLUMNS, Q6_K_BYTES), np.uint8)
    blocks[..., :192] = dice.integers(0, 256, (*blocks.shape[:2], 192), np.uint8)
    blocks[..., 192:208] = 16
    size = 0.02 / 16 / np.sqrt(64**2 / 12)  # codes -32 ... 31, each as often as the others
    blocks[..., 208:] = np.array([size], "<f2").view(np.uint8)
    return blocks.reshape(N, -1)
