/** All, also when one rejects; then the first rejection. */
export async function together(orders: readonly Promise<unknown>[]): Promise<void> {
  const settled = await Promise.allSettled(orders);
  const failed = settled.find((result) => result.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
