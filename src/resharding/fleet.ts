import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Directory } from '../sharding/directory.ts'
import { expandRuns, type ShardEntry, type ShardState, SLOT_COUNT } from '../sharding/shard-map.ts'
import { type Keyspace, keyspaces } from '../sharding/sharded-table.ts'
import { noParts, type Once, type Parts, unkept } from './kept-answers.ts'
import type { MovePlanning, PlannedMove } from './move-planning.ts'
import { type MoveRecords, makeServing, takesNone } from './move-records.ts'
import { type Plan, planMoves } from './planner.ts'
import type { MoveRecord } from './record.ts'

export interface RebalanceRequest {
  keyspaces: Keyspace[]
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

type Unrecorded = Omit<Rebalance, 'moves'>

const NOTHING: Unrecorded = { planned: [], held: 0 }

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
    await this.#directory.map()
    return this.#planning.inTurn(() => this.#carryOut(request, null, once, parts))
  }

  /**
   * Stops a shard from taking slots, and plans moves of its slots to the shards with the fewest. Throws NOT_FOUND,
   * SCHEMA_VERSIONS_DIFFER, SHARD_LACKS_ROOM.
   */
  async drain(id: string, once: Once<Rebalance> = unkept, parts: Parts = noParts): Promise<Rebalance> {
    await this.#directory.map()
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
      const request = { keyspaces: [...keyspaces], tolerance: 0, bytes: null, dryRun: false }
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
    const checked = await this.#planning.check(plan.planned)
    return this.#planning.record(checked, parts, (record) =>
      this.#records.transaction(() =>
        once(() => {
          const planned = [...begun.map(planOf), ...plan.planned]
          return { planned, held: plan.held, moves: record() }
        }),
      ),
    )
  }

  async #plan({ keyspaces, tolerance, bytes }: RebalanceRequest, drained: string | null): Promise<Unrecorded> {
    if (bytes !== null) this.#refuseUnknownWeights()
    const whole: Unrecorded = { planned: [], held: 0 }
    for (const keyspace of keyspaces) {
      const { moves, held } = this.#planOf(keyspace, tolerance, bytes, drained)
      whole.planned.push(...moves.map((move) => ({ keyspace, ...move })))
      whole.held += held
      await this.#records.pause()
    }
    return whole
  }

  #planOf(keyspace: Keyspace, tolerance: number, bytes: RebalanceRequest['bytes'], drained: string | null): Plan {
    const entries = this.#directory.shardEntries()
    const owners = expandRuns(this.#directory.runs(keyspace), entries.length)
    const counts = this.#directory.slotCounts(keyspace)
    const shards = entries.map(({ id, state }) => {
      const slots = counts.get(id) ?? 0
      return { id, state, slotWeight: bytes === null || slots === 0 ? 1 : (bytes[id] ?? 0) / slots }
    })
    const held = new Uint8Array(SLOT_COUNT)
    const ordinals = new Map(entries.map(({ id }, ordinal) => [id, ordinal]))
    this.#records.heldSlots().foresee(keyspace, owners, held, ordinals)
    return planMoves(shards, { owners, held }, { tolerance, drained })
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
