/** One connection to a memcached server: commands pipelined, answers in order. */
import { connect as connectPlain, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { PeerStoreOptions, StoreAddress } from "./peer-store.ts";

/** What a command was answered with. */
export interface MemcachedReply {
  /** The last line: END, STORED, DELETED, NOT_FOUND or an error. */
  readonly line: string;
  /** Bytes of the value, -1 when none came. */
  readonly length: number;
}

interface Question {
  readonly into: Uint8Array | null;
  length: number;
  readonly resolve: (reply: MemcachedReply) => void;
  readonly reject: (error: Error) => void;
}

/** Lines are short: a longer one is no answer of a memcached server. */
const longestLine = 2048;
const newline = 10;

export class MemcachedConnection {
  private readonly name: string;
  private readonly socket: Socket;
  private readonly questions: Question[] = [];
  private line = "";
  /** Bytes of the value under way that are still to come, with the line end behind it; 0 between values. */
  private dataLeft = 0;
  private dataAt = 0;
  private failed: Error | null = null;

  constructor(
    name: string,
    { host, port, secure, username, password }: StoreAddress,
    tls: PeerStoreOptions["tls"],
    timeoutSeconds: number,
  ) {
    this.name = name;
    this.socket = secure ? connectTls({ host, port, ...tls }) : connectPlain({ host, port });
    this.socket.setNoDelay(true);
    this.socket.setTimeout(timeoutSeconds * 1000, () => {
      if (this.questions.length > 0) this.close(new Error(`${name} does not answer`));
    });
    this.socket.on("error", (error) => this.close(error));
    this.socket.on("close", () => this.close(new Error(`${name} closed the connection`)));
    this.socket.on("data", (chunk: Buffer) => this.take(chunk));
    // An idle connection does not keep the process.
    this.socket.unref();
    if (password !== undefined) {
      const secret = Buffer.from(`${username ?? ""} ${password}`);
      this.ask(`set auth 0 0 ${secret.length}\r\n`, secret, null).then(
        ({ line }) => {
          if (line !== "STORED") this.close(new Error(`${name} refused user and password`));
        },
        () => {},
      );
    }
  }

  get broken(): boolean {
    return this.failed !== null;
  }

  /** Commands that have no answer yet. */
  get waiting(): number {
    return this.questions.length;
  }

  /** Sends a command, with a block of data behind it if there is one; the value of the answer is copied to `into`. */
  ask(head: string, data: Uint8Array | null, into: Uint8Array | null): Promise<MemcachedReply> {
    return new Promise((resolve, reject) => {
      if (this.failed !== null) {
        reject(this.failed);
        return;
      }
      if (this.questions.length === 0) this.socket.ref();
      this.questions.push({ into, length: -1, resolve, reject });
      this.socket.cork();
      this.socket.write(head);
      if (data !== null) {
        this.socket.write(data);
        this.socket.write("\r\n");
      }
      this.socket.uncork();
    });
  }

  /** Ends the connection; what waits for an answer fails with the error. */
  close(error: Error): void {
    if (this.failed !== null) return;
    this.failed = error;
    this.socket.destroy();
    for (const question of this.questions.splice(0)) question.reject(error);
  }

  private take(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length && this.failed === null) {
      if (this.dataLeft > 0) {
        const n = Math.min(this.dataLeft, chunk.length - at);
        this.copy(chunk.subarray(at, at + n));
        this.dataLeft -= n;
        at += n;
        continue;
      }
      const end = chunk.indexOf(newline, at);
      this.line += chunk.toString("latin1", at, end < 0 ? chunk.length : end);
      if (this.line.length > longestLine) this.close(new Error(`${this.name} is no memcached`));
      if (end < 0) return;
      at = end + 1;
      const line = this.line.trimEnd();
      this.line = "";
      this.answer(line);
    }
  }

  private copy(part: Buffer): void {
    const question = this.questions[0];
    const { into, length = 0 } = question ?? {};
    const wanted = Math.min(length, into?.length ?? 0) - this.dataAt;
    if (into && wanted > 0) into.set(part.subarray(0, wanted), this.dataAt);
    this.dataAt += part.length;
  }

  private answer(line: string): void {
    const question = this.questions[0];
    if (question === undefined) {
      this.close(new Error(`${this.name} answers what was not asked: ${line.slice(0, 80)}`));
      return;
    }
    const value = /^VALUE \S+ \d+ (\d+)/.exec(line);
    if (value !== null && question.length < 0) {
      question.length = Number(value[1]);
      this.dataAt = 0;
      this.dataLeft = question.length + 2;
      return;
    }
    this.questions.shift();
    if (this.questions.length === 0) this.socket.unref();
    question.resolve({ line, length: question.length });
  }
}
