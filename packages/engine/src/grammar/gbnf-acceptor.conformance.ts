/** Accepts texts by a GBNF grammar, the slow and plain way: all ends of every expression at every place. */

type Node =
  | { kind: "class"; not: boolean; ranges: [number, number][] }
  | { kind: "ref"; name: string }
  | { kind: "seq"; parts: Node[] }
  | { kind: "alt"; options: Node[] }
  | { kind: "rep"; part: Node; min: number; max: number };

export class GbnfAcceptor {
  private readonly rules = new Map<string, Node>();
  private text = "";
  private at = 0;

  constructor(grammar: string) {
    for (const line of grammar.split("\n").filter((l) => l !== "")) {
      const [, name, body] = /^([a-zA-Z0-9-]+) ::=(.*)$/.exec(line) as unknown as string[];
      this.text = body;
      this.at = 0;
      this.rules.set(name, this.alternatives());
      if (this.at < this.text.length) throw new Error(`${name}: "${this.text.slice(this.at)}"`);
    }
  }

  accepts(text: string): boolean {
    const chars = Array.from(text, (c) => c.codePointAt(0) as number);
    const memo = new Map<string, Set<number>>();
    const ends = (node: Node, from: number): Set<number> => {
      switch (node.kind) {
        case "class": {
          const c = chars[from];
          const inside = node.ranges.some(([a, b]) => c >= a && c <= b);
          return new Set(from < chars.length && inside !== node.not ? [from + 1] : []);
        }
        case "ref": {
          const key = `${node.name}@${from}`;
          const known = memo.get(key);
          if (known !== undefined) return known;
          const rule = this.rules.get(node.name);
          if (rule === undefined) throw new Error(`rule ${node.name} is not defined`);
          const found = ends(rule, from);
          memo.set(key, found);
          return found;
        }
        case "seq": {
          let set = new Set([from]);
          for (const part of node.parts) set = new Set([...set].flatMap((p) => [...ends(part, p)]));
          return set;
        }
        case "alt":
          return new Set(node.options.flatMap((o) => [...ends(o, from)]));
        case "rep": {
          const all = new Set<number>(node.min === 0 ? [from] : []);
          let set = new Set([from]);
          for (let i = 1; i <= node.max && set.size > 0; i++) {
            set = new Set([...set].flatMap((p) => [...ends(node.part, p)]));
            if (i < node.min) continue;
            const fresh = [...set].filter((p) => !all.has(p));
            for (const p of fresh) all.add(p);
            set = new Set(fresh);
          }
          return all;
        }
      }
    };
    return ends({ kind: "ref", name: "root" }, 0).has(chars.length);
  }

  private blank(): void {
    while (this.text[this.at] === " ") this.at++;
  }

  private alternatives(): Node {
    const options = [this.sequence()];
    while (this.text[this.at] === "|") {
      this.at++;
      options.push(this.sequence());
    }
    return options.length === 1 ? options[0] : { kind: "alt", options };
  }

  private sequence(): Node {
    const parts: Node[] = [];
    for (;;) {
      this.blank();
      const c = this.text[this.at];
      if (c === undefined || c === "|" || c === ")") return { kind: "seq", parts };
      let node: Node;
      if (c === '"') node = this.literal();
      else if (c === "[") node = this.set();
      else if (c === "(") {
        this.at++;
        node = this.alternatives();
        if (this.text[this.at++] !== ")") throw new Error("a group is not closed");
      } else {
        const name = /^[a-zA-Z0-9-]+/.exec(this.text.slice(this.at))?.[0];
        if (name === undefined) throw new Error(`"${this.text.slice(this.at)}"`);
        this.at += name.length;
        node = { kind: "ref", name };
      }
      parts.push(this.repeated(node));
    }
  }

  private repeated(part: Node): Node {
    const found = /^(?:[*+?]|\{(\d+)(,(\d+)?)?\})/.exec(this.text.slice(this.at));
    if (found === null) return part;
    this.at += found[0].length;
    const ways: Record<string, [number, number]> = {
      "*": [0, Number.POSITIVE_INFINITY],
      "+": [1, Number.POSITIVE_INFINITY],
      "?": [0, 1],
    };
    const min = Number(found[1]);
    const max = found[2] === undefined ? min : Number(found[3] ?? Number.POSITIVE_INFINITY);
    const [a, b] = ways[found[0]] ?? [min, max];
    return { kind: "rep", part, min: a, max: b };
  }

  private char(): number {
    const rest = this.text.slice(this.at);
    const hex = /^\\(?:x(..)|u(....)|U(........))/.exec(rest);
    if (hex !== null) {
      this.at += hex[0].length;
      return Number.parseInt(hex[1] ?? hex[2] ?? hex[3], 16);
    }
    if (rest[0] === "\\") {
      this.at += 2;
      const short: Record<string, string> = { n: "\n", t: "\t", r: "\r" };
      if (!/[ntr\\"[\]-]/.test(rest[1])) throw new Error(`unknown escape \\${rest[1]}`);
      return (short[rest[1]] ?? rest[1]).charCodeAt(0);
    }
    const code = rest.codePointAt(0) as number;
    this.at += code > 0xffff ? 2 : 1;
    return code;
  }

  private literal(): Node {
    this.at++;
    const parts: Node[] = [];
    while (this.text[this.at] !== '"') {
      const c = this.char();
      parts.push({ kind: "class", not: false, ranges: [[c, c]] });
    }
    this.at++;
    return { kind: "seq", parts };
  }

  private set(): Node {
    this.at++;
    const not = this.text[this.at] === "^";
    if (not) this.at++;
    const ranges: [number, number][] = [];
    while (this.text[this.at] !== "]") {
      const from = this.char();
      if (this.text[this.at] === "-" && this.text[this.at + 1] !== "]") {
        this.at++;
        ranges.push([from, this.char()]);
      } else ranges.push([from, from]);
    }
    this.at++;
    return { kind: "class", not, ranges };
  }
}
