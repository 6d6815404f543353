"""Classifies every image of a folder and counts the labels: `python classify_folder.py int8.tflite photos/`."""

import sys
from collections import Counter
from pathlib import Path

from runtime import Classifier, ImageError

classifier = Classifier(sys.argv[1])
counts: Counter[str] = Counter()
for path in sorted(Path(sys.argv[2]).iterdir()):
    try:
        best = classifier.classify(path, min_score=0.5)[0]
    except ImageError as error:
        print(error, file=sys.stderr)
        continue
    counts[best.label] += 1
    print(f"{path.name}\t{best.label}\t{best.score:.3f}")
print(", ".join(f"{count} {label}" for label, count in counts.most_common()))
