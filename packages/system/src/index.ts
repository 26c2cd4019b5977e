export * from "./errno.ts";
export { mappedMemorySupported, pageBytes } from "./libc.ts";
export * from "./limits/cgroup.ts";
export * from "./limits/resident.ts";
export { MappedFile, mapFile } from "./memory/mapped-file.ts";
export { MemoryFile } from "./memory/memory-file.ts";
export { roundUpToPages } from "./memory/range.ts";
export { type Access, Reservation } from "./memory/reservation.ts";
export { maxViewBytes, memoryView } from "./memory/view.ts";
