import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Directory } from '../sharding/directory.ts'
import { expandRuns, type ShardEntry, type ShardState, SLOT_COUNT } from '../sharding/shard-map.ts'
import { type Keyspace, keyspaces } from '../sharding/sharded-table.ts'
import { type Once, unkept } from './kept-answers.ts'
import { type MoveLedger, type MoveWishFrom, takesNone } from './move-ledger.ts'
import { type Plan, planMoves } from './planner.ts'
import { isBeforeCommit, type MoveRecord, slotNumber } from './record.ts'

export interface RebalanceWish {
  keyspaces: Keyspace[]
  /** As a fraction of the mean; 0 is within one slot. */
  tolerance: number
  /** Bytes of each shard, by its id, to balance these; null balances slots. */
  bytes: Record<string, number> | null
  /** Plans, and records nothing. */
  dryRun: boolean
}

export interface Rebalance {
  planned: MoveWishFrom[]
  /** Slots that should move too, and are held by moves that haven't ended: plan again then. */
  held: number
  /** The planned moves' records; none of a dry run. */
  moves: MoveRecord[]
}

/** Which shards there are, and how the slots are spread over them: what an operator grows by. */
export class Fleet {
  readonly #directory: Directory
  readonly #ledger: MoveLedger

  constructor(directory: Directory, ledger: MoveLedger) {
    this.#directory = directory
    this.#ledger = ledger
  }

  /**
   * A bound, empty, migrated database becomes a shard without slots; one that is a shard already stays as it is. Throws
   * SHARD_UNKNOWN, SHARD_FOREIGN, SHARD_NOT_EMPTY, MIGRATIONS_PENDING, SHARD_UNAVAILABLE, SCHEMA_VERSIONS_DIFFER.
   */
  async join(binding: string): Promise<ShardEntry> {
    await this.#directory.map()
    return this.#directory.join(binding, (entry) => this.#ledger.refuseOtherSchema(entry))
  }

  /**
   * Moves that wait, and were planned for what the shard was, are aborted: those to one that drains, and those that emptied
   * one that serves again. Throws NOT_FOUND, and SHARD_IN_MOVE where a move still writes to a shard that shall take no writes.
   */
  setState(id: string, state: ShardState): ShardEntry {
    return this.#ledger.transaction(() => {
      const before = this.#find(id)
      if (state === 'read-only' || state === 'restoring') this.#refuseWhileMoving(id, `become ${state}`)
      if (state === 'draining') this.#ledger.abortPlanned(({ target }) => target.id === id, takesNone({ id, state }))
      if (state === 'serving' && before.state === 'draining')
        this.#ledger.abortPlanned(
          ({ source }) => source.id === id,
          `${id} takes slots again: it isn’t drained any more.`,
        )
      return this.#directory.setState(id, state)
    })
  }

  /** Forgets a shard that has no slots. Throws NOT_FOUND, SHARD_IN_MOVE, SHARD_NOT_EMPTY. */
  remove(id: string): void {
    this.#find(id)
    this.#refuseWhileMoving(id, 'be removed')
    this.#directory.remove(id)
  }

  /**
   * Plans what brings the serving shards within the tolerance, and records it: lanes let the moves through in turn. Throws
   * SCHEMA_VERSIONS_DIFFER, and SLOTS_IN_MOVE where bytes are to be balanced while a move is open.
   */
  async rebalance(wish: RebalanceWish, once: Once<Rebalance> = unkept): Promise<Rebalance> {
    await this.#directory.map()
    return this.#carryOut(wish.dryRun, () => this.#plan(wish, null), once)
  }

  /** From now on the shard takes no slots; those that it has go to the shards that have least. Throws NOT_FOUND. */
  async drain(id: string, once: Once<Rebalance> = unkept): Promise<Rebalance> {
    await this.#directory.map()
    const shard = this.#find(id)
    if (shard.state !== 'serving' && shard.state !== 'draining')
      throw new BanyanError('SHARD_NOT_SERVING', `${id} is ${shard.state}: make it serving first.`)
    if (!this.#directory.shardEntries().some((other) => other.id !== id && other.state === 'serving'))
      throw new BanyanError('SHARD_NOT_SERVING', `No other shard is serving, so ${id} can’t be drained. Add one first.`)
    if (shard.state === 'serving') this.setState(id, 'draining')
    const wish = { keyspaces: [...keyspaces], tolerance: 0, bytes: null, dryRun: false }
    return this.#carryOut(false, () => this.#plan(wish, id), once)
  }

  async #carryOut(dryRun: boolean, plan: () => Omit<Rebalance, 'moves'>, once: Once<Rebalance>): Promise<Rebalance> {
    const first = plan()
    if (dryRun) return once(() => ({ ...first, moves: [] }))
    await this.#ledger.refuseDifferentSchemas(first.planned)
    return this.#ledger.transaction(() =>
      once(() => {
        // Planned anew: the check of the schemas has waited.
        const current = plan()
        return { ...current, moves: this.#ledger.enqueue(current.planned) }
      }),
    )
  }

  #plan({ keyspaces, tolerance, bytes }: RebalanceWish, drained: string | null): Omit<Rebalance, 'moves'> {
    if (bytes !== null) this.#refuseUnknownWeights()
    const plans = keyspaces.map((keyspace) => ({ keyspace, ...this.#planOf(keyspace, tolerance, bytes, drained) }))
    return {
      planned: plans.flatMap(({ keyspace, moves }) => moves.map((move) => ({ keyspace, ...move }))),
      held: plans.reduce((sum, { held }) => sum + held, 0),
    }
  }

  #planOf(keyspace: Keyspace, tolerance: number, bytes: RebalanceWish['bytes'], drained: string | null): Plan {
    const entries = this.#directory.shardEntries()
    const owners = expandRuns(this.#directory.runs(keyspace), entries.length)
    const shards = entries.map(({ id, state }, index) => {
      const slots = owners.filter((owner) => owner === index).length
      return { id, state, slotWeight: bytes === null || slots === 0 ? 1 : (bytes[id] ?? 0) / slots }
    })
    const held = new Uint8Array(SLOT_COUNT)
    for (const move of this.#ledger.open().filter((open) => open.keyspace === keyspace)) {
      const target = entries.findIndex(({ id }) => id === move.target.id)
      for (const [first, last] of move.ranges) {
        held.fill(1, slotNumber(first), slotNumber(last) + 1)
        // It is taken for granted that what is under way arrives.
        if (isBeforeCommit(move) && !move.ending) owners.fill(target, slotNumber(first), slotNumber(last) + 1)
      }
    }
    return planMoves(shards, { owners, held }, { tolerance, drained })
  }

  /** A move's rows are at both its shards for a while, and a planned one's where they won't stay: a size weighs no slot. */
  #refuseUnknownWeights(): void {
    const [open] = this.#ledger.open()
    if (!open) return
    const end = open.state === 'settling' ? `, or end its settling: banyan moves complete ${open.id}` : ''
    throw new BanyanError(
      'SLOTS_IN_MOVE',
      `Move ${open.id} is ${open.state}: until it is over, the sizes of the databases don’t say what their slots weigh. Wait${end}. Slots can be balanced at any time.`,
      { retryAfterSeconds: limits.moveRetryAfterSeconds },
    )
  }

  #find(id: string): ShardEntry {
    const shard = this.#directory.shardEntries().find((entry) => entry.id === id)
    if (!shard) throw new BanyanError('NOT_FOUND', `There is no shard "${id}". See: banyan shards list`)
    return shard
  }

  #refuseWhileMoving(id: string, what: string): void {
    const open = this.#ledger.open().find(({ source, target }) => source.id === id || target.id === id)
    if (open)
      throw new BanyanError(
        'SHARD_IN_MOVE',
        `Move ${open.id} (${open.state}) is at ${id}, which can ${what} when it is done. See: banyan moves show ${open.id}`,
        { retryAfterSeconds: limits.moveRetryAfterSeconds },
      )
  }
}
