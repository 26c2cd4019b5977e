/** A value as a field of CSV (RFC 4180), harmless in spreadsheets too. */
export function csvField(value: string | number): string {
  if (typeof value === "number") return String(value);
  // A cell that begins like a formula would be computed by whoever opens the file.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
