"""Pictures from figures."""
