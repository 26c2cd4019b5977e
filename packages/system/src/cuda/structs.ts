/**
 * The structs that the CUDA driver's virtual memory calls take by pointer, written byte by byte: cuda.h of CUDA 11.2 to 13
 * on a 64-bit little-endian host, where enums and ints take 4 bytes and pointers 8.
 */

/** CUmemAllocationType: memory that stays where it was made. */
const ALLOCATION_TYPE_PINNED = 1;
/** CUmemLocationType: `id` is the ordinal of a device. */
const LOCATION_TYPE_DEVICE = 1;
/** CUmemAccess_flags. */
const ACCESS_READ_WRITE = 3;

/**
 * CUmemAllocationProp, 32 bytes: device memory that no other process can open.
 * `type` @0, `requestedHandleTypes` @4, `location` { `type` @8, `id` @12 }, `win32HandleMetaData` @16, `allocFlags` @24
 * { `compressionType` u8, `gpuDirectRDMACapable` u8, `usage` u16, `reserved` u8[4] }; what is not named stays 0.
 */
export function allocationProperties(device: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(32));
  view.setInt32(0, ALLOCATION_TYPE_PINNED, true);
  view.setInt32(8, LOCATION_TYPE_DEVICE, true);
  view.setInt32(12, device, true);
  return new Uint8Array(view.buffer);
}

/** CUmemAccessDesc, 12 bytes: `location` { `type` @0, `id` @4 }, `flags` @8. The device may read and write. */
export function accessDescription(device: number): Uint8Array<ArrayBuffer> {
  const view = new DataView(new ArrayBuffer(12));
  view.setInt32(0, LOCATION_TYPE_DEVICE, true);
  view.setInt32(4, device, true);
  view.setInt32(8, ACCESS_READ_WRITE, true);
  return new Uint8Array(view.buffer);
}
