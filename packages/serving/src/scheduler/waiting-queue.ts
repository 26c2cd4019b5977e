/** The waiting queue: first come, first served within a priority; preempted sequences go to the front of theirs. */
import type { Seq, SeqTable } from "../join/seq-table.ts";

/** A ring of sequences. All operations are O(1) but `remove` and moving past sequences of another priority. */
export class WaitingQueue {
  private ring = new Int32Array(64);
  private first = 0;
  size = 0;
  private readonly table: SeqTable;

  constructor(table: SeqTable) {
    this.table = table;
  }

  get head(): Seq {
    return this.ring[this.first] as Seq;
  }

  /** Appends behind all sequences of equal or more urgent priority. */
  insert(seq: Seq): void {
    this.reserve();
    const mask = this.ring.length - 1;
    const priority = this.table.priority;
    const p = priority[seq]!;
    let at = this.size++;
    while (at > 0 && priority[this.ring[(this.first + at - 1) & mask]!]! > p) {
      this.ring[(this.first + at) & mask] = this.ring[(this.first + at - 1) & mask]!;
      at--;
    }
    this.ring[(this.first + at) & mask] = seq;
  }

  /** Puts a sequence ahead of all of equal or less urgent priority. */
  unshift(seq: Seq): void {
    this.reserve();
    const mask = this.ring.length - 1;
    const priority = this.table.priority;
    const p = priority[seq]!;
    this.first = (this.first - 1) & mask;
    this.size++;
    let at = 0;
    while (at < this.size - 1 && priority[this.ring[(this.first + at + 1) & mask]!]! < p) {
      this.ring[(this.first + at) & mask] = this.ring[(this.first + at + 1) & mask]!;
      at++;
    }
    this.ring[(this.first + at) & mask] = seq;
  }

  shift(): void {
    this.first = (this.first + 1) & (this.ring.length - 1);
    this.size--;
  }

  /** Removes a sequence wherever it stands; false when it does not wait. O(size). */
  remove(seq: Seq): boolean {
    const mask = this.ring.length - 1;
    let at = 0;
    while (at < this.size && this.ring[(this.first + at) & mask] !== seq) at++;
    if (at === this.size) return false;
    for (; at < this.size - 1; at++)
      this.ring[(this.first + at) & mask] = this.ring[(this.first + at + 1) & mask]!;
    this.size--;
    return true;
  }

  /** The sequence at position `index`, 0 = head. */
  at(index: number): Seq {
    return this.ring[(this.first + index) & (this.ring.length - 1)] as Seq;
  }

  forEach(visit: (seq: Seq) => void): void {
    for (let i = 0; i < this.size; i++) visit(this.at(i));
  }

  private reserve(): void {
    if (this.size < this.ring.length) return;
    const wider = new Int32Array(this.ring.length * 2);
    for (let i = 0; i < this.size; i++) wider[i] = this.at(i);
    this.ring = wider;
    this.first = 0;
  }
}
