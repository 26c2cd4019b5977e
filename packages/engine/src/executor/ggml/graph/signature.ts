/** A list of numbers compared with that of the step before, without allocating. */
export class Signature {
  #now = new Float64Array(64);
  #length = 0;
  #before = -1;
  #equal = true;

  begin(): void {
    this.#before = this.#length;
    this.#length = 0;
    this.#equal = true;
  }

  add(value: number): void {
    if (this.#length === this.#now.length) {
      const longer = new Float64Array(this.#now.length * 2);
      longer.set(this.#now);
      this.#now = longer;
    }
    if (this.#now[this.#length] !== value) {
      this.#equal = false;
      this.#now[this.#length] = value;
    }
    this.#length += 1;
  }

  /** True when the list differs from the one before. */
  end(): boolean {
    return !this.#equal || this.#length !== this.#before;
  }
}
