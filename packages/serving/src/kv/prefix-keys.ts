/**
 * Keys for prefix sharing: one 32-bit key per run of tokens, equal exactly when the whole prefix up to the end of the run
 * is equal. A wrong hit would give a wrong answer, so keys are no hashes: they are the names of nodes of a radix tree
 * whose edges are compared token by token. Equal prompts meet in one node; a prefix that was forgotten and comes again
 * gets a new name, which merely misses. SeqTable.prefixKeys takes the result.
 */
import { invariant } from "@millrace/core";

interface Node {
  readonly key: number;
  /** The tokens of the run, a copy. */
  readonly tokens: Int32Array;
  readonly hash: number;
  readonly parent: Node | null;
  /** Children by the hash of their run; runs of one hash share a list. */
  children: Map<number, Node[]> | null;
  /** Neighbours in order of use; a parent is always used after its children, so the oldest node is a leaf. */
  older: Node | null;
  newer: Node | null;
}

/** Names are never given twice: beyond this many the keyer gives no keys any more. */
const MOST_KEYS = 2 ** 32;

export class PrefixKeyer {
  readonly runTokens: number;
  /** Runs remembered at most; the longest unused are forgotten first. */
  readonly capacityRuns: number;
  private readonly root = new Map<number, Node[]>();
  private oldest: Node | null = null;
  private newest: Node | null = null;
  private count = 0;
  private nextKey: number;

  /**
   * `runTokens`: tokens of one run, `VattentionKv.runTokens`. `capacityRuns`: a few times the runs that the KV cache
   * holds. `firstKey` is for tests of the end of names.
   */
  constructor(runTokens: number, capacityRuns: number, firstKey = 0) {
    invariant(runTokens >= 1 && capacityRuns >= 1, "a prefix keyer needs runs of at least a token");
    this.runTokens = runTokens;
    this.capacityRuns = capacityRuns;
    this.nextKey = firstKey;
  }

  /** Runs remembered now. */
  get runs(): number {
    return this.count;
  }

  /**
   * The keys of the whole runs of `tokens`; shorter where the tree cannot hold a prompt of that length, null when all
   * names are used up. O(tokens); the tokens are copied where they are new.
   */
  keys(tokens: Int32Array): Uint32Array | null {
    const { runTokens } = this;
    const runs = Math.min(Math.floor(tokens.length / runTokens), this.capacityRuns);
    const keys = new Uint32Array(runs);
    const path: Node[] = [];
    let parent: Node | null = null;
    let named = true;
    for (let r = 0; r < runs; r++) {
      const from = r * runTokens;
      const hash = hashRun(tokens, from, from + runTokens);
      let node = this.find(parent, hash, tokens, from);
      if (node === null) {
        if (this.nextKey >= MOST_KEYS) {
          named = false;
          break;
        }
        node = this.add(parent, hash, tokens.slice(from, from + runTokens));
      }
      keys[r] = node.key;
      path.push(node);
      parent = node;
    }
    for (let i = path.length - 1; i >= 0; i--) this.use(path[i]!);
    while (this.count > this.capacityRuns) this.forgetOldest();
    return named ? keys : null;
  }

  private find(parent: Node | null, hash: number, tokens: Int32Array, from: number): Node | null {
    const list = (parent === null ? this.root : parent.children)?.get(hash);
    if (list === undefined) return null;
    for (const node of list) {
      let i = 0;
      while (i < this.runTokens && node.tokens[i] === tokens[from + i]) i++;
      if (i === this.runTokens) return node;
    }
    return null;
  }

  private add(parent: Node | null, hash: number, tokens: Int32Array): Node {
    const key = this.nextKey++;
    const node: Node = { key, tokens, hash, parent, children: null, older: null, newer: null };
    if (parent !== null && parent.children === null) parent.children = new Map();
    const siblings = parent?.children ?? this.root;
    const list = siblings.get(hash);
    if (list === undefined) siblings.set(hash, [node]);
    else list.push(node);
    this.count++;
    this.link(node);
    return node;
  }

  private use(node: Node): void {
    if (this.newest === node) return;
    this.unlink(node);
    this.link(node);
  }

  private link(node: Node): void {
    node.older = this.newest;
    if (this.newest !== null) this.newest.newer = node;
    else this.oldest = node;
    this.newest = node;
  }

  private unlink(node: Node): void {
    if (node.older !== null) node.older.newer = node.newer;
    else this.oldest = node.newer;
    if (node.newer !== null) node.newer.older = node.older;
    else this.newest = node.older;
    node.older = null;
    node.newer = null;
  }

  private forgetOldest(): void {
    const node = this.oldest;
    invariant(node !== null && (node.children === null || node.children.size === 0), "no leaf");
    this.unlink(node);
    const siblings = node.parent === null ? this.root : node.parent.children;
    const list = siblings?.get(node.hash);
    invariant(siblings != null && list !== undefined, "a prefix run has lost its parent");
    if (list.length === 1) siblings.delete(node.hash);
    else list.splice(list.indexOf(node), 1);
    this.count--;
  }
}

/** FNV-1a over whole tokens: only spreads runs over lists, equality is checked on the tokens. */
function hashRun(tokens: Int32Array, from: number, to: number): number {
  let hash = 0x811c9dc5;
  for (let i = from; i < to; i++) {
    hash = Math.imul(hash ^ tokens[i]!, 0x01000193);
    hash ^= hash >>> 15;
  }
  return hash | 0;
}
