"""
Writes a GGUF model as the folder of safetensors that vLLM reads: to_safetensors.py GGUF FOLDER.

Run by the Python of vLLM's own virtual environment, which has torch and transformers.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

gguf, folder = map(Path, sys.argv[1:3])
tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
model = AutoModelForCausalLM.from_pretrained(
    gguf.parent,
    gguf_file=gguf.name,
    dtype=torch.bfloat16,
    quantization_config=GgufConfig(dequantize=True),
)
model.save_pretrained(folder)
tokenizer.save_pretrained(folder)
