import { BanyanError } from '../core/errors.ts'
import { limits } from '../core/limits.ts'
import type { Directory } from '../sharding/directory.ts'
import { expandRuns, type ShardEntry, type ShardState, SLOT_COUNT } from '../sharding/shard-map.ts'
import { type Keyspace, keyspaces } from '../sharding/sharded-table.ts'
import { noParts, type Once, type Parts, unkept } from './kept-answers.ts'
import type { MovePlanning, PlannedMove } from './move-planning.ts'
import { type MoveRecords, takesNone } from './move-records.ts'
import { type Plan, planMoves } from './planner.ts'
import type { MoveRecord } from './record.ts'

export interface RebalanceRequest {
  keyspaces: Keyspace[]
  /** As a fraction of the mean; 0 is within one slot. */
  tolerance: number
  /** Bytes of each shard, by its id, to balance these; null balances slots. */
  bytes: Record<string, number> | null
  /** Plans, and records nothing. */
  dryRun: boolean
}

export interface Rebalance {
  planned: PlannedMove[]
  /** Slots that should move too, and are held by moves that haven't ended: plan again then. */
  held: number
  /** The planned moves' records; none of a dry run. */
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

/** Which shards there are, and how the slots are spread over them: what an operator grows by. */
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
   * A bound, empty, migrated database becomes a shard without slots; one that is a shard already stays as it is. Throws
   * SHARD_UNKNOWN, SHARD_FOREIGN, SHARD_NOT_EMPTY, MIGRATIONS_PENDING, SHARD_UNAVAILABLE, SCHEMA_VERSIONS_DIFFER.
   */
  async join(binding: string): Promise<ShardEntry> {
    await this.#directory.map()
    return this.#directory.join(binding, (entry) => this.#planning.refuseOtherSchema(entry))
  }

  /**
   * Moves that wait, and were planned for what the shard was, are aborted: those to one that drains, and those that emptied
   * one that serves again. Throws NOT_FOUND, and SHARD_IN_MOVE where a move still writes to a shard that shall take no writes.
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
      const why = `${id} takes slots again: it isn’t drained any more.`
      return this.#records.abortPlanned('source', id, why, set)
    }
    return set()
  }

  /** Forgets a shard that has no slots. Throws NOT_FOUND, SHARD_IN_MOVE, SHARD_NOT_EMPTY. */
  async remove(id: string): Promise<void> {
    return this.#planning.inTurn(async () => {
      this.#find(id)
      this.#refuseWhileMoving(id, 'be removed')
      this.#directory.remove(id)
    })
  }

  /**
   * Plans what brings the serving shards within the tolerance, and records it: lanes let the moves through in turn. Throws
   * SCHEMA_VERSIONS_DIFFER, SHARD_LACKS_ROOM, and SLOTS_IN_MOVE where bytes are to be balanced while a move is open.
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
   * From now on the shard takes no slots; those that it has go to the shards that have least. Throws NOT_FOUND,
   * SCHEMA_VERSIONS_DIFFER, SHARD_LACKS_ROOM.
   */
  async drain(id: string, once: Once<Rebalance> = unkept, parts: Parts = noParts): Promise<Rebalance> {
    await this.#directory.map()
    return this.#planning.inTurn(async () => {
      const shard = this.#find(id)
      if (shard.state !== 'serving' && shard.state !== 'draining')
        throw new BanyanError('SHARD_NOT_SERVING', `${id} is ${shard.state}: make it serving first.`)
      if (!this.#directory.shardEntries().some((other) => other.id !== id && other.state === 'serving'))
        throw new BanyanError(
          'SHARD_NOT_SERVING',
          `No other shard is serving, so ${id} can’t be drained. Add one first.`,
        )
      if (shard.state === 'serving') await this.#setState(id, 'draining')
      const request = { keyspaces: [...keyspaces], tolerance: 0, bytes: null, dryRun: false }
      return this.#carryOut(request, id, once, parts)
    })
  }

  /** In turn: until the last piece is recorded nothing else plans, so what was planned and checked is what is recorded. */
  async #carryOut(
    request: RebalanceRequest,
    drained: string | null,
    once: Once<Rebalance>,
    parts: Parts,
  ): Promise<Rebalance> {
    const begun = this.#planning.recordedOf(parts)
    // What an earlier attempt of this request has recorded is under way: bytes can't be weighed any more.
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

  /** A move's rows are at both its shards for a while, and a planned one's where they won't stay: a size weighs no slot. */
  #refuseUnknownWeights(): void {
    const open = this.#records.firstOpen()
    if (!open) return
    const end = open.state === 'settling' ? `, or end its settling: banyan moves complete ${open.id}` : ''
    throw new BanyanError(
      'SLOTS_IN_MOVE',
      `Move ${open.id} is ${open.state}: until it is over, the sizes of the databases don’t say what their slots weigh. Wait${end}. Slots can be balanced at any time.`,
      { retryAfterSeconds: limits.moveRetryAfterSeconds },
    )
  }

  #find(id: string): ShardEntry {
    const shard = this.#directory.findShard(id)
    if (!shard) throw new BanyanError('NOT_FOUND', `There is no shard "${id}". See: banyan shards list`)
    return shard
  }

  #refuseWhileMoving(id: string, what: string): void {
    const open = this.#records.firstOpenAt(id)
    if (open)
      throw new BanyanError(
        'SHARD_IN_MOVE',
        `Move ${open.id} (${open.state}) is at ${id}, which can ${what} when it is done. See: banyan moves show ${open.id}`,
        { retryAfterSeconds: limits.moveRetryAfterSeconds },
      )
  }
}
