"""One fair table of many networks: what ``fsr bench`` does. Above the engine, which trains; below the command."""
