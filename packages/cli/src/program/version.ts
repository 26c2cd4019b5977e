/** The version of this package; a test compares it with package.json, so that no file is read at every start. */
export const version = "0.1.0";
