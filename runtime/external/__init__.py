"""Models that Pocketlens did not make: adopted with what is known of them, and tried before they are trusted."""
