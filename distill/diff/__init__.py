"""What a student took in: its answers, weights and activations beside its base's, with control students as null."""
