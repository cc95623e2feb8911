"""Small classifiers of scikit-learn and LightGBM as ONNX files.

Run by the Python of an environment that has the exporters: ``python build_sklearn.py FOLDER``. Each
file comes with what its own library answers to some images.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
from build_common import CLASSES, SIDE, Writer, images_and_labels
from lightgbm import LGBMClassifier
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType as ToolsFloat
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier

ZIPMAPS = {"map": True, "tensor": False, "columns": "columns"}


def models() -> dict[str, object]:
    """Return classifiers, none trained yet."""
    return {
        "logistic": LogisticRegression(max_iter=300),
        "mlp": MLPClassifier((16,), max_iter=200, random_state=0),
        "forest": RandomForestClassifier(10, random_state=0),
        "extra-trees": ExtraTreesClassifier(10, random_state=0),
        "tree": DecisionTreeClassifier(random_state=0),
        "bayes": GaussianNB(),
        "neighbours": KNeighborsClassifier(3),
        "discriminant": LinearDiscriminantAnalysis(),
        "svc": SVC(probability=False, random_state=0),
        "pipeline": make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
    }


def main(folder: Path) -> None:
    """Write all files."""
    writer = Writer(folder)
    images, labels = images_and_labels()
    rows = (images / np.float32(255)).reshape(len(images), -1).astype(np.float32)
    names = np.array(CLASSES)[labels]
    kind = [("rows", FloatTensorType([None, SIDE * SIDE * 3]))]
    for name, model in models().items():
        for form, zipmap in ZIPMAPS.items():
            if name in ("svc",) and form != "tensor":
                continue
            by_name = form == "map"
            model.fit(rows, names if by_name else labels)  # type: ignore[attr-defined]
            options = {id(model): {"zipmap": zipmap}}
            onnx_model = convert_sklearn(model, initial_types=kind, options=options)
            answers = model.predict(rows)  # type: ignore[attr-defined]
            told = np.array([CLASSES.index(one) for one in answers]) if by_name else answers
            writer.write(f"sklearn {name}, {form}", "skl2onnx", onnx_model, told)
    for name, model in (("sgd", SGDClassifier(random_state=0)), ("linear-svc", LinearSVC())):
        model.fit(rows, labels)
        onnx_model = convert_sklearn(model, initial_types=kind, options={id(model): {}})
        writer.write(f"sklearn {name}", "skl2onnx", onnx_model, model.predict(rows))
    for opset in (9, 12, 15):
        model = LogisticRegression(max_iter=300).fit(rows, labels)
        onnx_model = convert_sklearn(model, initial_types=kind, target_opset=opset)
        writer.write(
            f"sklearn logistic, opset {opset}", "skl2onnx", onnx_model, model.predict(rows)
        )
    for form, zipmap in (("map", True), ("tensor", False)):
        booster = LGBMClassifier(n_estimators=5, min_child_samples=5, verbose=-1, random_state=0)
        booster.fit(rows, labels)
        onnx_model = convert_lightgbm(
            booster, initial_types=[("rows", ToolsFloat([None, SIDE * SIDE * 3]))], zipmap=zipmap
        )
        writer.write(f"lightgbm, {form}", "onnxmltools", onnx_model, booster.predict(rows))
    two = labels < 2
    binary = LogisticRegression(max_iter=300).fit(rows[two], labels[two])
    onnx_model = convert_sklearn(
        binary, initial_types=kind, options={id(binary): {"zipmap": False}}
    )
    writer.write("sklearn two classes", "skl2onnx", onnx_model, binary.predict(rows[two]), two)
    writer.finish()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
