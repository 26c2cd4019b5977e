/** Counters of the server in Prometheus' text form. */
const bounds = [0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];

export class ServeMetrics {
  readonly #requests = new Map<string, number>();
  readonly #buckets = new Float64Array(bounds.length + 1);
  #points = 0;
  #sum = 0;
  #count = 0;

  /** A request was answered with `status`. */
  answered(path: string, status: number): void {
    const key = `path="${path}",status="${status}"`;
    this.#requests.set(key, (this.#requests.get(key) ?? 0) + 1);
  }

  /** `points` were ranked in one call of `seconds`. */
  ranked(points: number, seconds: number): void {
    this.#points += points;
    this.#sum += seconds;
    this.#count++;
    let at = 0;
    while (at < bounds.length && seconds > (bounds[at] as number)) at++;
    this.#buckets[at] = (this.#buckets[at] as number) + 1;
  }

  text(facts: Readonly<Record<string, number>>): string {
    const lines = [
      "# TYPE millrace_extreme_requests_total counter",
      ...[...this.#requests].map(([key, n]) => `millrace_extreme_requests_total{${key}} ${n}`),
      "# TYPE millrace_extreme_points_total counter",
      `millrace_extreme_points_total ${this.#points}`,
      "# TYPE millrace_extreme_rank_seconds histogram",
    ];
    let sum = 0;
    bounds.forEach((bound, i) => {
      sum += this.#buckets[i] as number;
      lines.push(`millrace_extreme_rank_seconds_bucket{le="${bound}"} ${sum}`);
    });
    lines.push(
      `millrace_extreme_rank_seconds_bucket{le="+Inf"} ${this.#count}`,
      `millrace_extreme_rank_seconds_sum ${this.#sum}`,
      `millrace_extreme_rank_seconds_count ${this.#count}`,
    );
    for (const [name, value] of Object.entries(facts))
      lines.push(`# TYPE millrace_extreme_${name} gauge`, `millrace_extreme_${name} ${value}`);
    return `${lines.join("\n")}\n`;
  }
}
