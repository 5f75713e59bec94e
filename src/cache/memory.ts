import { limits } from '../core/limits.ts'
import { type Entry, frozen } from './entry.ts'

/** An entry in memory. Many requests share it. */
export interface Held {
  readonly entry: Entry<unknown>
  /** Time until which it is fresh, in ms since the epoch. */
  readonly freshUntil: number
  /** When it was put here. */
  readonly keptAt: number
  /** When KV was last asked for a newer one. */
  checkedAt: number
  /** Reads in this isolate since its load. */
  reads: number
  /** True if this isolate has put it into KV, or got it from there. */
  isCopied: boolean
}

interface Node {
  key: string
  held: Held
  bytes: number
  /** How many times the hand passes it by before it is evicted. */
  passes: number
  newer: Node | null
  older: Node | null
}

/** Bytes that count for a node and its place in the map. */
const NODE_BYTES = 256

/**
 * Entries in the isolate's memory, bounded in bytes. Evicts by SIEVE (Zhang et al., NSDI 2024): a hand moves from the
 * oldest entry to the newest, and evicts the first one that was not read since it last passed. It passes a hot entry by
 * three times. Entries that are read once leave sooner than with LRU, and a read moves nothing.
 */
export class Memory {
  readonly #nodes = new Map<string, Node>()
  readonly #bytesMax: number
  readonly #onEvict: (key: string, held: Held) => void
  #bytes = 0
  #newest: Node | null = null
  #oldest: Node | null = null
  #hand: Node | null = null

  constructor(bytesMax: number, onEvict: (key: string, held: Held) => void) {
    this.#bytesMax = bytesMax
    this.#onEvict = onEvict
  }

  /** Two bytes per character of keys and of values as JSON, and a fixed number per entry: more than the engine takes. */
  get bytes(): number {
    return this.#bytes
  }

  get size(): number {
    return this.#nodes.size
  }

  /** Without counting it as a read. */
  peek(key: string): Held | null {
    return this.#nodes.get(key)?.held ?? null
  }

  /** Counts a read. */
  read(key: string): Held | null {
    const node = this.#nodes.get(key)
    if (!node) return null
    node.held.reads++
    node.passes = node.held.reads >= limits.cacheHotReads ? 3 : 1
    return node.held
  }

  /** Keeps an entry in place of an older one, unless it alone is over the bound. `characters`: of the entry as JSON. */
  keep(key: string, held: Held, characters = JSON.stringify(held.entry).length): void {
    const bytes = NODE_BYTES + 2 * (key.length + characters)
    const known = this.#nodes.get(key)
    if (bytes > Math.min(this.#bytesMax, limits.cacheEntryBytesMax)) {
      if (known) this.#evict(known)
      this.#onEvict(key, held)
      return
    }
    frozen(held.entry)
    if (known) {
      this.#bytes += bytes - known.bytes
      known.held = held
      known.bytes = bytes
    } else this.#add({ key, held, bytes, passes: 0, newer: null, older: this.#newest })
    while (this.#bytes > this.#bytesMax) this.#evictOne()
  }

  /** Forgets an entry without `onEvict`. */
  delete(key: string): void {
    const node = this.#nodes.get(key)
    if (node) this.#remove(node)
  }

  #add(node: Node): void {
    if (this.#newest) this.#newest.newer = node
    this.#newest = node
    this.#oldest ??= node
    this.#nodes.set(node.key, node)
    this.#bytes += node.bytes
  }

  #evictOne(): void {
    let node = this.#hand ?? this.#oldest
    while (node && node.passes > 0) {
      node.passes--
      node = node.newer ?? this.#oldest
    }
    if (!node) return
    this.#hand = node.newer
    this.#evict(node)
  }

  #evict(node: Node): void {
    this.#remove(node)
    this.#onEvict(node.key, node.held)
  }

  #remove(node: Node): void {
    if (this.#hand === node) this.#hand = node.newer
    if (node.newer) node.newer.older = node.older
    else this.#newest = node.older
    if (node.older) node.older.newer = node.newer
    else this.#oldest = node.newer
    this.#nodes.delete(node.key)
    this.#bytes -= node.bytes
  }
}
