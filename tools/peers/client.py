"""Classifies pictures with MediaPipe Tasks and prints JSON; runs in MediaPipe's own environment, without Pocketlens.

python client.py MODEL PICTURE...
"""

from __future__ import annotations

import json
import sys

import mediapipe
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions


def main(model: str, pictures: list[str]) -> None:
    """Print the score of every label for each picture, and MediaPipe's version."""
    options = ImageClassifierOptions(base_options=BaseOptions(model_asset_path=model), max_results=-1)
    answers = []
    with ImageClassifier.create_from_options(options) as classifier:
        for picture in pictures:
            heads = classifier.classify(mediapipe.Image.create_from_file(picture)).classifications
            answers.append({category.category_name: category.score for category in heads[0].categories})
    print(json.dumps({"version": mediapipe.__version__, "answers": answers}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
