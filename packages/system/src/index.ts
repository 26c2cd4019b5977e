export {
  type CudaDeviceInfo,
  CudaDeviceMemory,
  cudaDevices,
  type DeviceMemory,
} from "./cuda/device-memory.ts";
export { type CudaDriver, cudaDriver } from "./cuda/driver.ts";
export * from "./errno.ts";
export { type AdvisedUse, adviseFile } from "./files/advice.ts";
export { FileLock } from "./files/file-lock.ts";
export { type Peer, peerOf } from "./files/peer.ts";
export {
  allocateShared,
  createShared,
  type MappedRegion,
  mapShared,
  privateFolder,
  sharedFolder,
  sharedRoom,
} from "./files/shared-file.ts";
export { asyncStackBytes, koffi } from "./foreign.ts";
export { mappedMemorySupported, pageBytes } from "./libc.ts";
export {
  type Limits,
  type ReadText,
  readLimits,
  usableMemoryBytes,
} from "./limits/cgroup.ts";
export {
  blockDeviceOf,
  ControlGroup,
  type Controller,
  controllersOffered,
  type GroupMemory,
  type GroupReads,
  type GroupSystem,
  groupSystem,
} from "./limits/control-group.ts";
export { type MachineTime, machineTime, processCoreSeconds } from "./limits/cpu-time.ts";
export { dropAllPages, dropFilePages, storageBytesRead } from "./limits/page-cache.ts";
export * from "./limits/resident.ts";
export { adviseHuge } from "./memory/huge.ts";
export { MappedFile, mapFile } from "./memory/mapped-file.ts";
export { MemoryFile } from "./memory/memory-file.ts";
export { overlayFile } from "./memory/overlay.ts";
export { roundUpToPages } from "./memory/range.ts";
export { type Access, Reservation } from "./memory/reservation.ts";
export { maxViewBytes, memoryView } from "./memory/view.ts";
export {
  namespacesSupported,
  type ServerNamespace,
  ServerNamespaces,
} from "./net/server-namespaces.ts";
export * from "./processes/process.ts";
