"""Layer Embedding Activation Mapping."""
