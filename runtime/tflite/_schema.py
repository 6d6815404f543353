"""The TensorFlow Lite schema, as `verifier.verify_flatbuffer` takes it; written by tools/tflite_schema.py.

A table is a line of fields, one a slot: a digit is a scalar of that many bytes, `s` a string, `tName` a table, `uName`
a union (its type is the slot before); `v` before any of these makes it a vector. Tables without fields are left out.
Extracted here because the interpreters' packages have no schema, and a device has no TensorFlow.
Source: the schema of TensorFlow 2.21.0.
"""

from __future__ import annotations

IDENTIFIER = b"TFL3"
ROOT = "Model"

TABLES = {
    "AddOptions": "1 1",
    "ArgMaxOptions": "1",
    "ArgMinOptions": "1",
    "BatchMatMulOptions": "1 1 1",
    "BidirectionalSequenceLSTMOptions": "1 4 4 1 1 1",
    "BidirectionalSequenceRNNOptions": "1 1 1 1",
    "BlockwiseQuantization": "4 4 4",
    "BucketizeOptions": "v4",
    "Buffer": "v1 8 8",
    "CallOnceOptions": "4",
    "CallOptions": "4",
    "CastOptions": "1 1",
    "ConcatEmbeddingsOptions": "4 v4 v4",
    "ConcatenationOptions": "4 1",
    "Conv2DOptions": "1 4 4 1 4 4 1",
    "Conv3DOptions": "1 4 4 4 1 4 4 4",
    "CumsumOptions": "1 1",
    "CustomQuantization": "v1",
    "DepthToSpaceOptions": "4",
    "DepthwiseConv2DOptions": "1 4 4 4 1 4 4",
    "DimensionMetadata": "1 4 1 uSparseIndexVector 1 uSparseIndexVector",
    "DivOptions": "1",
    "EmbeddingLookupSparseOptions": "1",
    "ExternalBuffer": "4 4 8 8 s",
    "ExternalBufferGroup": "s",
    "FakeQuantOptions": "4 4 4 1",
    "FullyConnectedOptions": "1 1 1 1 1",
    "GatherOptions": "4 4",
    "GeluOptions": "1",
    "HashtableOptions": "4 1 1",
    "IfOptions": "4 4",
    "Int32Vector": "v4",
    "L2NormOptions": "1",
    "LSHProjectionOptions": "1",
    "LSTMOptions": "1 4 4 1 1",
    "LeakyReluOptions": "4",
    "LocalResponseNormalizationOptions": "4 4 4 4",
    "Metadata": "s 4",
    "MirrorPadOptions": "1",
    "Model": "4 vtOperatorCode vtSubGraph s vtBuffer v4 vtMetadata vtSignatureDef vtExternalBufferGroup vtExternalBuffer",  # noqa: E501
    "MulOptions": "1",
    "OneHotOptions": "4",
    "Operator": "4 v4 v4 1 uBuiltinOptions v1 1 v1 v4 8 8 1 uBuiltinOptions2 4",
    "OperatorCode": "1 s 4 4",
    "PackOptions": "4 4",
    "Pool2DOptions": "1 4 4 4 4 1",
    "QuantizationParameters": "v4 v4 v4 v8 1 uQuantizationDetails 4",
    "RNNOptions": "1 1",
    "RandomOptions": "8 8",
    "ReduceWindowOptions": "4",
    "ReducerOptions": "1",
    "ReshapeOptions": "v4",
    "ResizeBilinearOptions": "0 0 1 1",
    "ResizeNearestNeighborOptions": "1 1",
    "ReverseSequenceOptions": "4 4",
    "SVDFOptions": "4 1 1",
    "SequenceRNNOptions": "1 1 1",
    "ShapeOptions": "1",
    "SignatureDef": "vtTensorMap vtTensorMap s 0 4",
    "SkipGramOptions": "4 4 1",
    "SoftmaxOptions": "4",
    "SpaceToDepthOptions": "4",
    "SparseToDenseOptions": "1",
    "SparsityParameters": "v4 v4 vtDimensionMetadata",
    "SplitOptions": "4",
    "SplitVOptions": "4",
    "SqueezeOptions": "v4",
    "StableHLOCompositeOptions": "s 4 v1 1 4",
    "StablehloBroadcastInDimOptions": "v8",
    "StablehloCaseOptions": "v4",
    "StablehloCompareOptions": "4 4",
    "StablehloConcatenateOptions": "8",
    "StablehloConvolutionOptions": "v8 v8 v8 v8 v1 8 8 v8 8 8 v8 8 8 v8 8 8 v4",
    "StablehloCustomCallOptions": "s 1 s 4 v4 v1",
    "StablehloDotGeneralOptions": "v8 v8 v8 v8 v4",
    "StablehloDynamicSliceOptions": "v8",
    "StablehloGatherOptions": "v8 v8 v8 8 v8 1",
    "StablehloIotaOptions": "8",
    "StablehloPadOptions": "v8 v8 v8",
    "StablehloReduceOptions": "v8 4",
    "StablehloReduceWindowOptions": "v8 v8 v8 v8 v8 4",
    "StablehloRngBitGeneratorOptions": "1",
    "StablehloScatterOptions": "1 v8 v8 v8 8 1 4",
    "StablehloSliceOptions": "v8 v8 v8",
    "StablehloSortOptions": "8 1 4",
    "StablehloTransposeOptions": "v8",
    "StablehloWhileOptions": "4 4",
    "StridedSliceOptions": "4 4 4 4 4 1",
    "SubGraph": "vtTensor v4 v4 vtOperator s 4",
    "SubOptions": "1 1",
    "Tensor": "v4 1 4 s tQuantizationParameters 1 tSparsityParameters v4 1 vtVariantSubType 4",
    "TensorMap": "s 4",
    "TransposeConvOptions": "1 4 4 1 1",
    "Uint16Vector": "v2",
    "Uint8Vector": "v1",
    "UnidirectionalSequenceLSTMOptions": "1 4 4 1 1 1",
    "UniqueOptions": "1",
    "UnpackOptions": "4 4",
    "VarHandleOptions": "s s",
    "VariantSubType": "v4 1 1",
    "WhileOptions": "4 4",
}

#: Tables of each union, in the order of their type numbers.
UNIONS = {
    "BuiltinOptions": """
NONE Conv2DOptions DepthwiseConv2DOptions ConcatEmbeddingsOptions LSHProjectionOptions Pool2DOptions SVDFOptions
RNNOptions FullyConnectedOptions SoftmaxOptions ConcatenationOptions AddOptions L2NormOptions
LocalResponseNormalizationOptions LSTMOptions ResizeBilinearOptions CallOptions ReshapeOptions SkipGramOptions
SpaceToDepthOptions EmbeddingLookupSparseOptions MulOptions PadOptions GatherOptions BatchToSpaceNDOptions
SpaceToBatchNDOptions TransposeOptions ReducerOptions SubOptions DivOptions SqueezeOptions SequenceRNNOptions
StridedSliceOptions ExpOptions TopKV2Options SplitOptions LogSoftmaxOptions CastOptions DequantizeOptions
MaximumMinimumOptions ArgMaxOptions LessOptions NegOptions PadV2Options GreaterOptions GreaterEqualOptions
LessEqualOptions SelectOptions SliceOptions TransposeConvOptions SparseToDenseOptions TileOptions ExpandDimsOptions
EqualOptions NotEqualOptions ShapeOptions PowOptions ArgMinOptions FakeQuantOptions PackOptions LogicalOrOptions
OneHotOptions LogicalAndOptions LogicalNotOptions UnpackOptions FloorDivOptions SquareOptions ZerosLikeOptions
FillOptions BidirectionalSequenceLSTMOptions BidirectionalSequenceRNNOptions UnidirectionalSequenceLSTMOptions
FloorModOptions RangeOptions ResizeNearestNeighborOptions LeakyReluOptions SquaredDifferenceOptions MirrorPadOptions
AbsOptions SplitVOptions UniqueOptions ReverseV2Options AddNOptions GatherNdOptions CosOptions WhereOptions
RankOptions ReverseSequenceOptions MatrixDiagOptions QuantizeOptions MatrixSetDiagOptions HardSwishOptions IfOptions
WhileOptions DepthToSpaceOptions NonMaxSuppressionV4Options NonMaxSuppressionV5Options ScatterNdOptions
SelectV2Options DensifyOptions SegmentSumOptions BatchMatMulOptions CumsumOptions CallOnceOptions BroadcastToOptions
Rfft2dOptions Conv3DOptions HashtableOptions HashtableFindOptions HashtableImportOptions HashtableSizeOptions
VarHandleOptions ReadVariableOptions AssignVariableOptions RandomOptions BucketizeOptions GeluOptions
DynamicUpdateSliceOptions UnsortedSegmentProdOptions UnsortedSegmentMaxOptions UnsortedSegmentMinOptions
UnsortedSegmentSumOptions ATan2Options SignOptions BitcastOptions BitwiseXorOptions RightShiftOptions
""",
    "BuiltinOptions2": """
NONE StablehloConcatenateOptions StablehloBroadcastInDimOptions StablehloSliceOptions StablehloConvolutionOptions
StablehloCustomCallOptions StablehloReduceOptions StablehloScatterOptions StablehloCompareOptions
StablehloDynamicSliceOptions StablehloPadOptions StablehloIotaOptions StablehloDotGeneralOptions
StablehloReduceWindowOptions StablehloSortOptions StablehloWhileOptions StablehloGatherOptions
StablehloTransposeOptions DilateOptions StablehloRngBitGeneratorOptions ReduceWindowOptions StableHLOCompositeOptions
StablehloShiftLeftOptions StablehloCaseOptions
""",
    "QuantizationDetails": """
NONE CustomQuantization BlockwiseQuantization
""",
    "SparseIndexVector": """
NONE Int32Vector Uint16Vector Uint8Vector
""",
}

#: Names of the built-in operators, in the order of their numbers.
OPERATORS = """
ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM
MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS
SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE BIDIRECTIONAL_SEQUENCE_RNN
EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2
GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG
SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT
UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU
SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE
MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5
SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO
RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE
RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX
UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD
STABLEHLO_DIVIDE STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE STABLEHLO_ABS
STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM STABLEHLO_NEGATE
STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT STABLEHLO_SUBTRACT STABLEHLO_TANH
STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE STABLEHLO_DYNAMIC_UPDATE_SLICE
STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW STABLEHLO_SORT STABLEHLO_WHILE
STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR REDUCE_WINDOW STABLEHLO_COMPOSITE
STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT STABLEHLO_CASE
""".split()

#: Names of the types of tensors, in the order of their numbers.
TENSOR_TYPES = """
FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 UINT64 RESOURCE VARIANT UINT32
UINT16 INT4 BFLOAT16 INT2 UINT4
""".split()
