import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Directory } from '../sharding/directory.ts'
import { countsOf, expandRuns, type ShardEntry, type ShardState, SLOT_COUNT } from '../sharding/shard-map.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import { noParts, type Once, type Parts, unkept } from './kept-answers.ts'
import type { MovePlanning, PlannedMove } from './move-planning.ts'
import { type MoveRecords, makeServing, takesNone } from './move-records.ts'
import { type Plan, planGathering, planMoves } from './planner.ts'
import type { MoveRecord } from './record.ts'

export interface RebalanceRequest {
  keyspaces: Keyspace[]
  /** Ends the placements of these keyspaces. Otherwise a placed keyspace stays at its shard. */
  endsPlacements?: boolean
  /** As a fraction of the mean. 0 balances to within one slot. */
  tolerance: number
  /** Bytes per shard id, to balance bytes. Null balances slots. */
  bytes: Record<string, number> | null
  /** Plans without recording anything. */
  dryRun: boolean
}

export interface Rebalance {
  planned: PlannedMove[]
  /** Slots that should also move but are held by open moves. Plan again when those moves have ended. */
  held: number
  /** The planned moves' records. Empty for a dry run. */
  moves: MoveRecord[]
}

/** Where a keyspace's slots are. */
export interface KeyspaceShards {
  name: Keyspace
  /** The shards with slots of it, and the number of these slots. Empty while the keyspace is not assigned. */
  shards: { id: string; slots: number }[]
  /** The id of the shard that it was placed on, or null. */
  placement: string | null
}

type Unrecorded = Omit<Rebalance, 'moves'>

const NOTHING: Unrecorded = { planned: [], held: 0 }

export interface PlaceRequest {
  keyspace: Keyspace
  /** A shard's id. */
  target: string
}

const givesSlots = (state: ShardState) => state === 'serving' || state === 'draining'

const planOf = ({ keyspace, source, target, ranges }: MoveRecord): PlannedMove => ({
  keyspace,
  source: source.id,
  target: target.id,
  ranges,
})

/** The shards and how the slots are spread over them, for operators who grow the fleet. */
export class Fleet {
  readonly #directory: Directory
  readonly #records: MoveRecords
  readonly #planning: MovePlanning

  constructor({
    directory,
    records,
    planning,
  }: { directory: Directory; records: MoveRecords; planning: MovePlanning }) {
    this.#directory = directory
    this.#records = records
    this.#planning = planning
  }

  /**
   * Adds a bound, empty, migrated database as a shard without slots. A shard that has joined is returned unchanged.
   * Throws SHARD_UNKNOWN, SHARD_FOREIGN, SHARD_NOT_EMPTY, MIGRATIONS_PENDING, SHARD_UNAVAILABLE,
   * SCHEMA_VERSIONS_DIFFER.
   */
  async join(binding: string): Promise<ShardEntry> {
    await this.#directory.map()
    return this.#directory.join(binding, (entry) => this.#planning.refuseOtherSchema(entry))
  }

  /**
   * Changes a shard's state and aborts planned moves that no longer fit it: moves to a shard that starts draining, and
   * moves that emptied a shard that serves again. Throws NOT_FOUND, and SHARD_IN_MOVE if a move still writes to a shard
   * that must take no writes.
   */
  async setState(id: string, state: ShardState): Promise<ShardEntry> {
    return this.#planning.inTurn(() => this.#setState(id, state))
  }

  async #setState(id: string, state: ShardState): Promise<ShardEntry> {
    const before = this.#find(id)
    const set = () => this.#directory.setState(id, state)
    if (state === 'read-only' || state === 'restoring') this.#refuseWhileMoving(id, `become ${state}`)
    if (state === 'draining') return this.#records.abortPlanned('target', id, takesNone({ id, state }), set)
    if (state === 'serving' && before.state === 'draining') {
      const why = `${id} takes slots again, because its drain was cancelled.`
      return this.#records.abortPlanned('source', id, why, set)
    }
    return set()
  }

  /** Each keyspace of this version, with the shards that have its slots. */
  async keyspaces(): Promise<KeyspaceShards[]> {
    await this.#directory.map()
    const assigned = this.#directory.assignedKeyspaces()
    return this.#directory.keyspaces.map((name) => {
      const counts = assigned.includes(name) ? this.#directory.slotCounts(name) : new Map<string, number>()
      const shards = [...counts].map(([id, slots]) => ({ id, slots })).sort((a, b) => (a.id < b.id ? -1 : 1))
      return { name, shards, placement: this.#directory.placementOf(name)?.id ?? null }
    })
  }

  /**
   * Plans a move of all slots of a keyspace to one shard, from each shard that has some of them, and remembers that
   * they belong there. The moves wait for lanes. Throws NOT_FOUND for an unknown target, SHARD_NOT_SERVING,
   * SCHEMA_VERSIONS_DIFFER, SHARD_LACKS_ROOM.
   */
  async place(
    { keyspace, target }: PlaceRequest,
    once: Once<Rebalance> = unkept,
    parts: Parts = noParts,
  ): Promise<Rebalance> {
    await this.#directory.whole(keyspace)
    return this.#planning.inTurn(async () => {
      const shard = this.#find(target)
      if (shard.state !== 'serving')
        throw new BanyanError('SHARD_NOT_SERVING', `${takesNone(shard)} Choose another target.`)
      const { moves, held } = this.#gathered(keyspace, target, () => true)
      const plan = { planned: moves.map((move) => ({ keyspace, ...move })), held }
      return this.#record(plan, once, parts, () => this.#directory.setPlacement(keyspace, target))
    })
  }

  /** Removes a shard that has no slots. Throws NOT_FOUND, SHARD_IN_MOVE, SHARD_NOT_EMPTY. */
  async remove(id: string): Promise<void> {
    return this.#planning.inTurn(async () => {
      this.#find(id)
      this.#refuseWhileMoving(id, 'be removed')
      this.#directory.remove(id)
    })
  }

  /**
   * Plans the moves that bring the serving shards within the tolerance, and records them. They wait for lanes. Throws
   * SCHEMA_VERSIONS_DIFFER, SHARD_LACKS_ROOM, and SLOTS_IN_MOVE if bytes are to be balanced while a move is open.
   */
  async rebalance(
    request: RebalanceRequest,
    once: Once<Rebalance> = unkept,
    parts: Parts = noParts,
  ): Promise<Rebalance> {
    for (const keyspace of request.keyspaces) await this.#directory.whole(keyspace)
    return this.#planning.inTurn(() => this.#carryOut(request, null, once, parts))
  }

  /**
   * Stops a shard from taking slots, and plans moves of its slots to the shards with the fewest. Throws NOT_FOUND,
   * SCHEMA_VERSIONS_DIFFER, SHARD_LACKS_ROOM.
   */
  async drain(id: string, once: Once<Rebalance> = unkept, parts: Parts = noParts): Promise<Rebalance> {
    await this.#directory.whole()
    return this.#planning.inTurn(async () => {
      const shard = this.#find(id)
      if (shard.state !== 'serving' && shard.state !== 'draining')
        throw new BanyanError(
          'SHARD_NOT_SERVING',
          `${id} is ${shard.state}, so it can’t be drained. ${makeServing(shard)}`,
        )
      if (!this.#directory.shardEntries().some((other) => other.id !== id && other.state === 'serving'))
        throw new BanyanError(
          'SHARD_NOT_SERVING',
          `No other shard is serving, so ${id} can’t be drained. Add one first: npm run banyan -- shards add`,
        )
      if (shard.state === 'serving') await this.#setState(id, 'draining')
      const keyspaces = this.#directory.assignedKeyspaces()
      const request = { keyspaces, tolerance: 0, bytes: null, dryRun: false }
      return this.#carryOut(request, id, once, parts)
    })
  }

  /**
   * Runs in turn. No other operation plans before the last piece is recorded, so the recorded moves are those that were
   * checked.
   */
  async #carryOut(
    request: RebalanceRequest,
    drained: string | null,
    once: Once<Rebalance>,
    parts: Parts,
  ): Promise<Rebalance> {
    const begun = this.#planning.recordedOf(parts)
    // Moves recorded by an earlier attempt of this request may be running, so bytes cannot be weighed any more.
    const plan = request.bytes !== null && begun.length > 0 ? NOTHING : await this.#plan(request, drained)
    if (request.dryRun) return once(() => ({ ...plan, moves: [] }))
    return this.#record(plan, once, parts, () => {
      if (request.endsPlacements) for (const keyspace of request.keyspaces) this.#directory.setPlacement(keyspace, null)
    })
  }

  /** `effect` runs in the transaction that records the last moves. */
  async #record(plan: Unrecorded, once: Once<Rebalance>, parts: Parts, effect: () => void): Promise<Rebalance> {
    const begun = this.#planning.recordedOf(parts)
    const checked = await this.#planning.check(plan.planned)
    return this.#planning.record(checked, parts, (record) =>
      this.#records.transaction(() =>
        once(() => {
          effect()
          const planned = [...begun.map(planOf), ...plan.planned]
          return { planned, held: plan.held, moves: record() }
        }),
      ),
    )
  }

  async #plan(request: RebalanceRequest, drained: string | null): Promise<Unrecorded> {
    if (request.bytes !== null) this.#refuseUnknownWeights()
    const whole: Unrecorded = { planned: [], held: 0 }
    for (const keyspace of request.keyspaces) {
      const { moves, held } = this.#planOf(keyspace, request, drained)
      whole.planned.push(...moves.map((move) => ({ keyspace, ...move })))
      whole.held += held
      await this.#records.pause()
    }
    return whole
  }

  #planOf(keyspace: Keyspace, { tolerance, bytes, endsPlacements }: RebalanceRequest, drained: string | null): Plan {
    const placement = endsPlacements ? null : this.#directory.placementOf(keyspace)
    if (placement && placement.id !== drained && placement.state !== 'draining') {
      const isSource = ({ id, state }: ShardEntry) => givesSlots(state) && (drained === null || id === drained)
      return placement.state === 'serving' ? this.#gathered(keyspace, placement.id, isSource) : { moves: [], held: 0 }
    }
    const { entries, owners, held } = this.#foreseen(keyspace)
    const counts = this.#directory.slotCounts(keyspace)
    const reserved = this.#reserved(keyspace, entries, owners, drained)
    const shards = entries.map(({ id, state }) => {
      const slots = counts.get(id) ?? 0
      const slotWeight = bytes === null || slots === 0 ? 1 : (bytes[id] ?? 0) / slots
      return { id, state, slotWeight, isReserved: reserved.has(id) }
    })
    return planMoves(shards, { owners, held }, { tolerance, drained })
  }

  /** The owner of each slot when the open moves have ended, and the slots that these moves hold. */
  #foreseen(keyspace: Keyspace) {
    const entries = this.#directory.shardEntries()
    const owners = expandRuns(this.#directory.runs(keyspace), entries.length)
    const held = new Uint8Array(SLOT_COUNT)
    const ordinals = new Map(entries.map(({ id }, ordinal) => [id, ordinal]))
    this.#records.heldSlots().foresee(keyspace, owners, held, ordinals)
    return { entries, owners, held }
  }

  /** Moves that bring the slots of these shards to the target. */
  #gathered(keyspace: Keyspace, target: string, isSource: (shard: ShardEntry) => boolean): Plan {
    const { entries, owners, held } = this.#foreseen(keyspace)
    const sources = new Set(entries.flatMap((shard, ordinal) => (isSource(shard) ? [ordinal] : [])))
    const ordinal = entries.findIndex(({ id }) => id === target)
    return planGathering(entries, { owners, held }, { sources, target: ordinal })
  }

  /**
   * The shards that other keyspaces were placed on and that have no slots of this one. Such a shard stays reserved
   * for them, unless no other shard could take slots.
   */
  #reserved(keyspace: Keyspace, entries: ShardEntry[], owners: Uint16Array, drained: string | null): Set<string> {
    const placements = this.#directory.keyspaces
      .filter((other) => other !== keyspace)
      .flatMap((other) => this.#directory.placementOf(other)?.id ?? [])
    const counts = countsOf(owners, entries.length)
    const reserved = new Set(placements.filter((id) => counts[entries.findIndex((shard) => shard.id === id)] === 0))
    const takes = ({ id, state }: ShardEntry) => state === 'serving' && id !== drained && !reserved.has(id)
    return entries.some(takes) ? reserved : new Set()
  }

  /** An open move's rows may be at both shards, so a database's size does not give the weight of its slots. */
  #refuseUnknownWeights(): void {
    const open = this.#records.firstOpen()
    if (!open) return
    const end = open.state === 'settling' ? `, or end its settling: npm run banyan -- moves complete ${open.id}` : ''
    throw new BanyanError(
      'SLOTS_IN_MOVE',
      `Move ${open.id} is ${open.state}. Bytes can’t be balanced until it ends, because its rows may be in two databases. Wait${end}. Slots can be balanced at any time.`,
      { retryAfterSeconds: limits.moveRetryAfterSeconds },
    )
  }

  #find(id: string): ShardEntry {
    const shard = this.#directory.findShard(id)
    if (!shard) throw new BanyanError('NOT_FOUND', `There is no shard "${id}". See: npm run banyan -- shards list`)
    return shard
  }

  #refuseWhileMoving(id: string, what: string): void {
    const open = this.#records.firstOpenAt(id)
    if (open)
      throw new BanyanError(
        'SHARD_IN_MOVE',
        `Move ${open.id} (${open.state}) uses ${id}, which can ${what} only after the move is done. See: npm run banyan -- moves show ${open.id}`,
        { retryAfterSeconds: limits.moveRetryAfterSeconds },
      )
  }
}
