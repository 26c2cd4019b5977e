/**
 * ggml from TypeScript. Owns the one native copy of the process; checks every operation before ggml sees it, because ggml
 * ends the process on bad operands. Promises nothing about models: graphs are built by those who know them.
 */
export { type FieldPlace, TensorArena } from "./arena.ts";
export { Backend } from "./device/backend.ts";
export {
  readF32,
  readTensor,
  TensorBuffer,
  writeTensor,
  writeTensorFrom,
} from "./device/buffer.ts";
export { BufferType, Device, type DeviceKind } from "./device/device.ts";
export { GraphAllocator } from "./device/graph-allocator.ts";
export { PlannedGraph, workBytes } from "./device/planned-graph.ts";
export { ThreadPool } from "./device/thread-pool.ts";
export { type Ggml, loadGgml } from "./ggml.ts";
export { Graph } from "./graph.ts";
export { GuardedMemory } from "./guarded-memory.ts";
export { HostMemory, hostAlignment } from "./host-memory.ts";
export { liveHandles } from "./live-handles.ts";
export { type CpuVariant, cpuVariant } from "./native/cpu-variant.ts";
export { type NativeLibrary, nativeLibrary } from "./native/library.ts";
export { candidatePackages, locateLibraries } from "./native/locate.ts";
export { captureLog, lastLoggedError } from "./native/log.ts";
export { type Bound, bind, bindAddress, type Signature } from "./native/signatures.ts";
export * from "./ops/arithmetic.ts";
export * from "./ops/attention.ts";
export * from "./ops/backward.ts";
export * from "./ops/create.ts";
export * from "./ops/in-place.ts";
export * from "./ops/linear.ts";
export * from "./ops/optimizers.ts";
export * from "./ops/shape.ts";
export * from "./ops/windows.ts";
export { dequantize, isQuantizable, quantize } from "./quantize.ts";
export { Stencil, StencilCopy } from "./stencil.ts";
export { type Four, Tensor } from "./tensor.ts";
export { tensorStruct } from "./tensor-struct.ts";
export {
  blockBytes,
  blockElements,
  isQuantized,
  rowBytes,
  type TensorType,
  tensorTypes,
  typeId,
  typeOfId,
} from "./types.ts";
