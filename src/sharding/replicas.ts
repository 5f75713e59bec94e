import type { ShardEntry } from './shard-map.ts'

/** What a client must be shown of its own writes. */
export interface ClientWrites {
  /** The slots that it wrote. */
  slots: readonly string[]
  /** For each shard that it wrote, by id: a D1 bookmark at or after its last write there. */
  bookmarks: ReadonlyMap<string, string>
  /** True if it wrote more than the other fields tell. */
  isPartial: boolean
}

/** Reads since the isolate started. */
export interface ReplicaCounts {
  /** Reads with a bookmark whose answer took so long that the replica was probably behind. */
  waited: number
  /** Reads that had no answer in time, or failed, and went to the primary. */
  fellBack: number
}

/** Called for each read that waited or fell back. `ms`: until its answer, or until it went to the primary. */
export type ReplicaObserver = (event: keyof ReplicaCounts, read: ReplicaRead) => void

interface ReplicaRead {
  shard: string
  operation: string
  ms: number
}

/**
 * Where a client's plain reads start while replicas are in use. A read sees what the client wrote, because it starts at
 * the bookmark of its last write to that shard, or at a later one.
 */
export class Replicas {
  readonly #client: ClientWrites
  /** The bookmarks of this request's own writes. */
  readonly #written = new Map<string, string>()
  /** The bookmarks of this request's exact reads. */
  readonly #seen = new Map<string, string>()
  readonly observe: ReplicaObserver

  constructor(client: ClientWrites, observe: ReplicaObserver = () => undefined) {
    this.#client = client
    this.observe = observe
  }

  /** True if the client may have written a slot that is asked for, and no bookmark tells how far its shard was then. */
  mustBeExact({ id }: ShardEntry, isAsked: (slot: string) => boolean): boolean {
    if (this.#bookmarkOf(id) !== null) return false
    return this.#client.isPartial || this.#client.slots.some(isAsked)
  }

  /** True if this request has written the shard. Its reads then go to the primary, because a replica would be behind. */
  hasWritten({ id }: ShardEntry): boolean {
    return this.#written.has(id)
  }

  /** The least that a read of the shard must see: a D1 bookmark, or null if any replica will do. */
  floorOf(shard: ShardEntry): string | null {
    return later(this.#bookmarkOf(shard.id), shard.minBookmark ?? null)
  }

  /** Call with D1's bookmark after a write has been applied. */
  noteWrite(shard: ShardEntry, bookmark: string | null): void {
    keepLater(this.#written, shard.id, bookmark)
  }

  /** Call with D1's bookmark after an exact read. */
  noteExactRead(shard: ShardEntry, bookmark: string | null): void {
    keepLater(this.#seen, shard.id, bookmark)
  }

  /** The exact reads found an earlier write of the client, which is acknowledged only now. */
  acknowledgeSeen(): void {
    for (const [shard, bookmark] of this.#seen) keepLater(this.#written, shard, bookmark)
  }

  /** The bookmarks of this request's writes, by shard id. */
  get written(): ReadonlyMap<string, string> {
    return this.#written
  }

  #bookmarkOf(shard: string): string | null {
    return later(this.#client.bookmarks.get(shard) ?? null, this.#written.get(shard) ?? null)
  }
}

function keepLater(bookmarks: Map<string, string>, shard: string, bookmark: string | null): void {
  const latest = later(bookmarks.get(shard) ?? null, bookmark)
  if (latest !== null) bookmarks.set(shard, latest)
}

/** D1's bookmarks of one database sort as texts (developers.cloudflare.com/d1/reference/glossary). */
export function later(one: string | null, other: string | null): string | null {
  if (one === null || other === null) return one ?? other
  return one < other ? other : one
}

export const isConstraint = (start: string): boolean => start === 'first-primary' || start === 'first-unconstrained'

/** The later of two starts of a session: a bookmark is later than any replica, and the primary is the latest. */
export function laterStart(start: string, bookmark: string | null | undefined): string {
  if (bookmark == null || start === 'first-primary') return start
  return start === 'first-unconstrained' || start < bookmark ? bookmark : start
}
