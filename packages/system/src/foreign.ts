/**
 * koffi, configured once. Its configuration is fixed by the first library that is loaded, and the stack it gives to
 * asynchronous calls by default (128 KiB) is less than the stack native code may expect of a thread: recursion over a
 * long compute graph overflows it. Whoever loads a native library takes koffi from here.
 */
import koffi from "koffi";

/** Stack of an asynchronous native call, bytes; untouched pages of it cost nothing. */
export const asyncStackBytes = 4 << 20;

if (koffi.config().async_stack_size !== asyncStackBytes) {
  koffi.config({ ...koffi.config(), async_stack_size: asyncStackBytes, resident_async_pools: 4 });
}

export { koffi };
