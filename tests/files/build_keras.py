"""Small networks of Keras as ONNX files, by Keras' own export (tf2onnx).

Run by the Python of an environment that has them: ``python build_keras.py FOLDER``.
"""

import os
import sys
import warnings
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", TF_ENABLE_ONEDNN_OPTS="0")

import keras
import numpy as np
from build_common import SIDE, Writer, images_and_labels
from keras import layers


def trained(*middle: layers.Layer, head: list[layers.Layer], shape: tuple[int, ...]) -> keras.Model:
    """Return a network that has seen the images."""
    images, labels = images_and_labels()
    model = keras.Sequential([layers.Input(shape), *middle, *head])
    inputs = (images / np.float32(255)).astype(np.float32).reshape(-1, *shape)
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="mse")
    model.fit(inputs, keras.utils.to_categorical(labels, 4), epochs=25, verbose=0)
    return model


def main(folder: Path) -> None:
    """Write all files."""
    keras.utils.set_random_seed(0)
    writer = Writer(folder)
    images, _ = images_and_labels()
    pixels = (images / np.float32(255)).astype(np.float32)
    square = (SIDE, SIDE, 3)

    def conv() -> list[layers.Layer]:
        return [layers.Conv2D(6, 3, activation="relu"), layers.GlobalAveragePooling2D()]

    networks = {
        "convolutions, softmax": (conv(), [layers.Dense(4, activation="softmax")], square),
        "convolutions, sigmoids": (conv(), [layers.Dense(4, activation="sigmoid")], square),
        "convolutions, scores": (conv(), [layers.Dense(4)], square),
        "softmax layer": (conv(), [layers.Dense(4), layers.Softmax()], square),
        "batch norm": (
            [layers.Conv2D(6, 3), layers.BatchNormalization(), layers.ReLU(), layers.Flatten()],
            [layers.Dense(4, activation="softmax")],
            square,
        ),
        "channel by channel inside": (
            [layers.Permute((3, 1, 2)), layers.Flatten(), layers.Dense(12, activation="relu")],
            [layers.Dense(4, activation="softmax")],
            square,
        ),
        "rows": (
            [layers.Dense(12, activation="relu")],
            [layers.Dense(4, activation="softmax")],
            (SIDE * SIDE * 3,),
        ),
        "rows with an axis": (
            [layers.Flatten(), layers.Dense(12, activation="relu")],
            [layers.Dense(4, activation="softmax")],
            (SIDE * SIDE * 3, 1),
        ),
        "separable": (
            [layers.SeparableConv2D(6, 3, activation="relu"), layers.GlobalMaxPooling2D()],
            [layers.Dense(4, activation="softmax")],
            square,
        ),
        "strides and padding": (
            [layers.Conv2D(6, 3, strides=2, padding="same", activation="relu"), layers.Flatten()],
            [layers.Dense(4, activation="softmax")],
            square,
        ),
    }
    for name, (middle, head, shape) in networks.items():
        model = trained(*middle, head=head, shape=shape)
        answers = model.predict(pixels.reshape(-1, *shape), verbose=0).argmax(axis=1)
        model.export(str(writer.path()), format="onnx", verbose=False)
        writer.write(f"keras {name}", "keras", None, answers)
    writer.finish()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
