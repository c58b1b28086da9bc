// TensorRT's headers include CUDA's for these two names alone. With them here, the plug-ins are built without a CUDA
// toolkit; both are handles that only libraries look into.
#pragma once

using cudaStream_t = struct CUstream_st*;
using cudaEvent_t = struct CUevent_st*;
