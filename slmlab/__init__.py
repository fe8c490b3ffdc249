"""slmlab: measure small language models instead of reading about them.

What lives where (a module imports only from lines below its own):

    cli         the `slmlab` command         runner   executes labs, writes the report
    bundle      the course in one folder, for a room without a network
    environment `.venv`, made step by step in sight
    doctor      what this machine can do, one line each with its remedy
    endtoend    a whole BitNet model, token by token: transformers against packed weights
    evaluation  what the minis can do, with confidence intervals
    export      a mini as GGUF or ONNX, for other programs
    grading     builds the students' notebooks
    widgets     a pure state function and a thin ipywidgets view each
    exercises   @exercise and answer(), the references and their cases
    models      load(name) -> model and tokenizer, with a memory guard
    minis       a tiny trained member of every family: text, tokenizer, recipes, training
    ternary     BitNet's arithmetic: to train with, and packed, for the kernels
    ple         Gemma 3n's per-layer embeddings: ledgers, a table in memory or in a file, its resident pages
    figures     rows and arrays -> plotly Figure
    energy      joules by operations and bits moved, and the machine's own counter
    catalog     the facts of every model    claims   claim, source, your number, verdict
    ledger      rows whose totals check themselves
    quant       int8, int4, int3, int2, NF4, ternary: quantize, dequantize, error
    bench       warm-up, interleaved medians, the read limit, the machine line
    records     what was measured, answered and solved on this machine
    thinking    where a thought begins and ends, and how it is kept within a budget of tokens
    copies      the labs that ship, and a student's copy of them, never over their work
    places      the datasets that ship, the folders that slmlab writes to

`import slmlab` loads none of them: write `from slmlab import quant`.
"""

__version__ = "0.1.0"
