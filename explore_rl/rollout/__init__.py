"""vLLM engines: drawing completions, one engine an actor."""
