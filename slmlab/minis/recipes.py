"""What each mini is made of and taught: class and configuration, mixture of documents, budget, learning rate.

>>> model = new_model(RECIPES["mini-qwen"])                             # doctest: +SKIP

All have the same shape, so that families differ and sizes do not: 6 layers of width 256, 8 heads on 2, an FFN of 512,
one embedding for both ends, about 3.9 million weights (mini-qwen-moe: 4 layers; mini-gemma3n: more beside its layers).
Rows are multiples of 256 values wherever GGUF's K and TQ formats want them.

Four more recipes are twins: trained like the mini they stand beside, compared with it, and not shipped.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from . import MiniError, tokenizer


@dataclass(frozen=True)
class Recipe:
    """How one mini comes to be. `tokens` and `batch` are counted as the model sees them, packed."""

    name: str
    family: str  # of the tokenizer
    model_class: str  # in transformers
    config: Mapping[str, Any]  # arguments of the class's configuration
    mixture: Mapping[str, float]  # kind of document -> share of the documents
    noisy: bool = False  # the documents come through corpus.noisy
    ternary: bool = False  # the layers' matrices are BitLinear
    matformer: bool = False  # the first part of each FFN is trained to stand alone
    prompt_weight: float = 1.0  # in what is minimised, of a token that another than the mini says in a conversation
    short_first: bool = False  # long documents come later, see training.longest
    sequence: int = 256  # tokens
    batch: int = 4  # sequences: with more of them copying, which tools and needles need, begins many tokens later
    tokens: int = 4_000_000
    learning_rate: float = 1.5e-3
    seed: int = 0
    shipped: bool = True
    twin_of: str | None = None


SHAPE = {
    "vocab_size": tokenizer.VOCABULARY,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": tokenizer.MAX_TOKENS,
    "tie_word_embeddings": True,
    "initializer_range": 0.02,
    "rms_norm_eps": 1e-6,
}
ROPE = {"rope_type": "default", "rope_theta": 10_000.0}
GLOBAL_ROPE = {"rope_type": "default", "rope_theta": 1_000_000.0}  # Gemma's, for layers that see everything
BOTH_ROPES = {"sliding_attention": ROPE, "full_attention": GLOBAL_ROPE}
WINDOW = 64  # tokens
LOCAL, GLOBAL = "sliding_attention", "full_attention"

FACTS = {"lesson": 0.25, "question": 0.6, "story": 0.15}

_PHI = Recipe(
    name="mini-phi",
    family="phi",
    model_class="Phi3ForCausalLM",
    config=SHAPE | {"rope_parameters": ROPE, "original_max_position_embeddings": tokenizer.MAX_TOKENS},
    mixture={"lesson": 0.2, "question": 0.53, "story": 0.15, "tool": 0.12},
)
_QWEN = Recipe(
    name="mini-qwen",
    family="qwen",
    model_class="Qwen3ForCausalLM",
    config=SHAPE | {"rope_parameters": ROPE},
    mixture={"sum": 0.55, "sum-direct": 0.3, "tool": 0.15},
    tokens=6_000_000,
)
_MOE = Recipe(
    name="mini-qwen-moe",
    family="qwen",
    model_class="Qwen3MoeForCausalLM",
    config=SHAPE
    | {
        "rope_parameters": ROPE,
        "num_hidden_layers": 4,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 128,
        "norm_topk_prob": True,
        "router_aux_loss_coef": 0.02,
        # Training asks for the router's logits in its calls. Saved as True, they break generate() on padded batches.
        "output_router_logits": False,
    },
    # A sixth of the tokens for each kind: a document with tools is four times as long as a question.
    mixture={"lesson": 0.2, "question": 0.25, "story": 0.12, "sum": 0.12, "tool": 0.07, "parallel": 0.24},
)
_GEMMA = Recipe(
    name="mini-gemma",
    family="gemma",
    model_class="Gemma3ForCausalLM",
    config=SHAPE
    | {
        "rope_parameters": BOTH_ROPES,
        "layer_types": [LOCAL] * 5 + [GLOBAL],
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 32,  # the head's width
    },
    # Copying does not begin where most of what is minimised is other text, nor over hundreds of words at once.
    mixture={"needle": 1.0},
    prompt_weight=0.02,
    short_first=True,
    sequence=512,
    batch=2,
    tokens=6_000_000,
)
_GEMMA3N = Recipe(
    name="mini-gemma3n",
    family="gemma",
    model_class="Gemma3nForCausalLM",
    config=SHAPE
    | {
        "rope_parameters": BOTH_ROPES,
        "intermediate_size": [512] * 6,
        "layer_types": [LOCAL, LOCAL, GLOBAL] * 2,
        "sliding_window": WINDOW,
        # Three layers at the top take keys and values of the last layer below of their own type: each type must be
        # among the layers below.
        "num_kv_shared_layers": 3,
        "vocab_size_per_layer_input": tokenizer.VOCABULARY,
        "hidden_size_per_layer_input": 32,
        "altup_num_inputs": 2,
        "laurel_rank": 16,
        "activation_sparsity_pattern": [0.0] * 6,  # it would cut a slice of the FFN elsewhere than the whole
    },
    mixture=FACTS,
    matformer=True,
)
_BITNET = Recipe(
    name="mini-bitnet",
    family="bitnet",
    model_class="BitNetForCausalLM",
    config=SHAPE | {"rope_parameters": ROPE, "hidden_act": "relu2"},
    mixture=FACTS,
    ternary=True,
    learning_rate=3e-3,
)


def _dense(name: str, intermediate_size: int) -> Recipe:
    """A dense model beside mini-qwen-moe, alike but for its FFN."""
    config = SHAPE | {"rope_parameters": ROPE, "num_hidden_layers": 4, "intermediate_size": intermediate_size}
    return replace(
        _MOE, name=name, model_class="Qwen3ForCausalLM", config=config, shipped=False, twin_of="mini-qwen-moe"
    )


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        _PHI,
        replace(_PHI, name="mini-phi-noisy", noisy=True),
        _QWEN,
        _MOE,
        _GEMMA,
        _GEMMA3N,
        _BITNET,
        replace(_GEMMA3N, name="mini-gemma3n-twin", matformer=False, shipped=False, twin_of="mini-gemma3n"),
        # At its own learning rate: each of the two is trained as well as the recipe can.
        replace(
            _BITNET,
            name="mini-bitnet-twin",
            ternary=False,
            learning_rate=1.5e-3,
            shipped=False,
            twin_of="mini-bitnet",
        ),
        _dense("mini-qwen-moe-active", 2 * 128),  # as many weights work on a token
        _dense("mini-qwen-moe-total", 8 * 128),  # as many weights lie in memory
    )
}


def recipe(name: str) -> Recipe:
    """The recipe called `name`, of a mini or a twin. MiniError: there is none."""
    if name not in RECIPES:
        raise MiniError(f"the mini came as {name!r}, wanted one of {', '.join(RECIPES)}")
    return RECIPES[name]


def new_model(recipe: Recipe):
    """An untrained model: a transformers.PreTrainedModel, float32, in training mode, the same each time.

    Where the recipe is ternary, the matrices of the layers are slmlab.ternary.BitLinear; embedding, head and norms are
    not. Stop tokens stand in its generation_config, and generation is greedy.
    """
    import torch
    import transformers

    words = tokenizer.load(recipe.family)
    ids = {"pad_token_id": words.pad_token_id, "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    model_class = getattr(transformers, recipe.model_class)
    config = model_class.config_class(**recipe.config, **ids)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = model_class._from_config(config, dtype=torch.float32)
        if recipe.ternary:
            _make_ternary(model.model.layers)
    model.generation_config = transformers.GenerationConfig(
        **ids | {"eos_token_id": tokenizer.stop_ids(words)}, do_sample=False
    )
    return model.train()


def _make_ternary(layers) -> None:
    """Put a BitLinear with the same weights in the place of each linear layer."""
    from torch import nn

    from ..ternary import BitLinear

    for parent in list(layers.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                layer = BitLinear(child.in_features, child.out_features, child.bias is not None)
                layer.load_state_dict(child.state_dict())
                setattr(parent, name, layer)
