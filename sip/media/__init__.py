"""Media engines: where the audio of a call is anchored, and the prompts they play."""
