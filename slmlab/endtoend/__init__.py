"""A whole BitNet 2B4T, token by token: transformers' ways of running it, and llama.cpp's, against packed weights.

    python -m slmlab.endtoend                      every contender that fits into the memory, some eight minutes
    python -m slmlab.endtoend --repetitions 2      shorter
    python -m slmlab.endtoend --resident base3     only the memory of one accelerated model, in this process

The model has the published shape and random weights, the same for all contenders, drawn as the packed repository holds
them; a full float32 model is never made. Contenders run in turn; a ratio is taken in each repetition before its median
is. The last line is JSON.

    decode    ms a token of generate() after a prompt of 8, batch 1
    prompt    tokens per second of a prompt of 128, to its first new token
    kernels   the same token's kernel calls alone, one after another: what is above them is attention and Python
    ids       of 64 greedy ids, those that the same model writes when its ternary matrices are unpacked: products of
              whole numbers in float32, and the specification's norm and rounding in NumPy
    blocks    of the same ids, those that transformers' own float32 blocks choose, with w1.58a8 for each product. They
              add in another order; where that moves one activation to the next of its 255 steps, thirty blocks make
              more of it. So beside it: how many choices those blocks keep when their input changes by its last bit

llama.cpp takes part where `pip install xllamacpp` has brought it: its own server, in a process of its own, on a GGUF
that holds the same ternary matrices as TQ2_0. It runs twice, with all threads and with half of them, since its threads
wait for one another and lose much when other programs run; a ratio to it is one to the faster of the two, repetition by
repetition. Its times are its own, and of the same tokens: see `llama_cpp`. It rounds activations in blocks of 256 where
BitNet has one scale a token, and puts SiLU where 2B4T has a squared ReLU: the work is the same, the text is not.
"""
