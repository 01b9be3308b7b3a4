"""vLLM as an engine: any RoPE variant that its integer positions can express, on its kernels.

vLLM runs in a child process, of this interpreter or of another environment's (:mod:`.client`,
:mod:`.server`), and gets token ids and pixels as our own engine does. In it, a class of ours (:mod:`.model`)
takes the place of vLLM's wrapper around transformers models, installs the variant and numbers the tokens.
"""
