/** Lease tokens: made from a secret of the run, so that a scheduler that comes back knows those of running jobs. */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { writeFileAtomic } from "@millrace/core/node";

export class Tokens {
  private readonly secret: Buffer;

  /** `path`: the file of the secret, made when absent; in a folder that is the scheduler's alone. */
  constructor(path: string) {
    if (!existsSync(path)) writeFileAtomic(path, randomBytes(32));
    this.secret = readFileSync(path);
  }

  of(job: string): string {
    return `${job}.${createHmac("sha256", this.secret).update(job).digest("base64url")}`;
  }

  /** The job that a token names, or null when it is not that job's. */
  job(token: string): string | null {
    const job = token.slice(0, Math.max(0, token.lastIndexOf(".")));
    const expected = Buffer.from(this.of(job));
    const given = Buffer.from(token);
    return given.length === expected.length && timingSafeEqual(given, expected) ? job : null;
  }
}
