"""Results on disk: arrays in safetensors, facts in JSON, and where everything came from."""
