"""ResNet8, the image classifier of MLPerf Tiny, as a network of one's own: `train --model-file examples/resnet8.py`.

Seven convolutions of 3x3 and two of 1x1, with 16, 32 and 64 filters, for images of 32x32 in colour (C. Banbury et al.,
MLPerf Tiny Benchmark, arXiv:2106.07597).
"""

from keras import Input, Model, layers, regularizers


def build_model(input_shape, classes):
    inputs = Input(input_shape)
    x = _normalized(inputs, 16)
    for filters, strides in ((16, 1), (32, 2), (64, 2)):
        y = _normalized(x, filters, strides=strides)
        y = _normalized(y, filters, relu=False)
        if strides > 1:
            x = _convolution(x, filters, kernel=1, strides=strides)
        x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.GlobalAveragePooling2D()(x)
    return Model(inputs, layers.Dense(classes, activation="softmax")(x))


def _convolution(x, filters, kernel=3, strides=1):
    decay = regularizers.L2(1e-4)
    return layers.Conv2D(
        filters, kernel, strides, padding="same", kernel_initializer="he_normal", kernel_regularizer=decay
    )(x)


def _normalized(x, filters, strides=1, relu=True):
    x = layers.BatchNormalization()(_convolution(x, filters, strides=strides))
    return layers.ReLU()(x) if relu else x
