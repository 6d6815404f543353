"""How fast training is, and what it needs: `make bench-train`. A module a question, each with `rows(rounds)`."""
