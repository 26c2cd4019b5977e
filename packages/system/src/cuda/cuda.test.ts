import { expect, test } from "vitest";
import { CudaDeviceMemory, cudaDevices } from "./device-memory.ts";
import { check, cudaDriver, cudaResultName } from "./driver.ts";
import { accessDescription, allocationProperties } from "./structs.ts";

test("CUmemAllocationProp of device 3, byte for byte", () => {
  expect([...allocationProperties(3)]).toEqual([
    ...[1, 0, 0, 0], // type = PINNED
    ...[0, 0, 0, 0], // requestedHandleTypes = NONE
    ...[1, 0, 0, 0], // location.type = DEVICE
    ...[3, 0, 0, 0], // location.id
    ...[0, 0, 0, 0, 0, 0, 0, 0], // win32HandleMetaData
    ...[0, 0, 0, 0, 0, 0, 0, 0], // allocFlags
  ]);
});

test("CUmemAccessDesc of device 258, byte for byte", () => {
  expect([...accessDescription(258)]).toEqual([
    ...[1, 0, 0, 0], // location.type = DEVICE
    ...[2, 1, 0, 0], // location.id
    ...[3, 0, 0, 0], // flags = PROT_READWRITE
  ]);
});

test("failures name the call, the result and what to do", () => {
  expect(() => check("cuMemCreate", 0)).not.toThrow();
  expect(() => check("cuMemCreate", 2, "2097152 bytes")).toThrow(
    expect.objectContaining({
      code: "SYSTEM_CALL_FAILED",
      message: "cuMemCreate(2097152 bytes) failed: CUDA_ERROR_OUT_OF_MEMORY",
      hint: expect.stringContaining("kv.memory"),
    }),
  );
  expect(cudaResultName(4711)).toBe("CUresult 4711");
});

function driverIsThere(): boolean {
  try {
    cudaDriver();
    return true;
  } catch {
    return false;
  }
}
const present = driverIsThere();

test.runIf(!present)("without a driver everything refuses, and says what is missing", () => {
  for (const use of [cudaDriver, cudaDevices, () => new CudaDeviceMemory(0)])
    expect(use).toThrow(
      expect.objectContaining({
        code: "ENVIRONMENT_MISSING",
        message: expect.stringContaining("CUDA"),
        hint: expect.stringContaining("NVIDIA's driver"),
      }),
    );
});

test.runIf(present)(
  "with a real driver (runs only where cuInit succeeds): devices and limits",
  () => {
    expect(cudaDriver().version).toMatch(/^\d+\.\d$/);
    for (const device of cudaDevices()) {
      expect(device.name).not.toBe("");
      expect(device.totalBytes).toBeGreaterThan(2 ** 28);
    }
    expect(() => new CudaDeviceMemory(cudaDevices().length)).toThrow("there is no CUDA device");
  },
);
