"""What a session looks like in MRML: nodes show it, gestures become its commands. RAS lives here and nowhere else."""
