"""The embedded reference models: corpus, tokenizer, build, measurements and weights."""
