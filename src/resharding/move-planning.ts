import { eachAtMost } from '../core/bounded.ts'
import { type Clock, inTime } from '../core/clock.ts'
import { BanyanError, MIGRATE } from '../core/errors.ts'
import { slotText } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { present } from '../core/present.ts'
import { Serial } from '../core/serial.ts'
import type { Directory } from '../sharding/directory.ts'
import { type ShardEntry, spansOf } from '../sharding/shard-map.ts'
import type { Keyspace } from '../sharding/sharded-table.ts'
import type { HeldSlots } from './held-slots.ts'
import { noParts, type Once, type Parts, unkept } from './kept-answers.ts'
import { type MoveRecords, makeServing, takesNone } from './move-records.ts'
import { countSlots, formatRanges, isBeforeCommit, type MoveRecord, type SlotRange, slotNumber } from './record.ts'
import { arrivalOf, bytesOfSlots, refuseLackOfRoom } from './room.ts'

/** The facts that planning needs about a shard. One statement returns both. */
interface ShardFacts {
  /** Names its migrations. Equal texts mean equal schemas. */
  schema: string
  /** The size of its database. Null if the platform does not report it. */
  bytes: number | null
}

/** The facts of one of the shards that were asked. */
type FactsOf = (shard: string) => ShardFacts

export interface MovePlanningOptions {
  records: MoveRecords
  directory: Directory
  clock: Clock
  newId: () => string
  shardFacts: (shard: ShardEntry) => Promise<ShardFacts>
  /** The newest migration that this version of the Worker knows. */
  newestMigration: string
  /** How large a shard's database may become. Default: `limits.shardBytesMax`. */
  shardBytesMax?: number
}

export interface MoveRequest {
  keyspace: Keyspace
  ranges: SlotRange[]
  target: string
}

/** A move in a plan, of slots that its source owns. */
export interface PlannedMove extends MoveRequest {
  source: string
}

/** A move whose shards were checked: their schemas are equal, and the target has room. */
export interface CheckedMove extends PlannedMove {
  bytesEstimated?: number | null
}

/**
 * Decides whether moves may start, and records them as `planned`. Operations run one after another, in pieces with
 * pauses in between, so that the directory answers other calls meanwhile.
 */
export class MovePlanning {
  readonly #options: MovePlanningOptions
  readonly #records: MoveRecords
  readonly #serial = new Serial()

  constructor(options: MovePlanningOptions) {
    this.#options = options
    this.#records = options.records
  }

  /** Runs operations that plan moves, or change what plans depend on, one after another. They may wait. */
  inTurn<T>(work: () => Promise<T>): Promise<T> {
    return this.#serial.run(work)
  }

  /**
   * Plans one move per source. Slots that the target already owns are skipped, so there may be no move. Throws
   * NOT_FOUND for an unknown target, SLOTS_IN_MOVE, SHARD_IN_MOVE, SHARD_NOT_SERVING, SCHEMA_VERSIONS_DIFFER,
   * SHARD_LACKS_ROOM.
   */
  async plan(request: MoveRequest, once: Once<MoveRecord[]> = unkept, parts: Parts = noParts): Promise<MoveRecord[]> {
    const target = this.#shard(request.target)
    if (!target)
      throw new BanyanError('NOT_FOUND', `There is no shard "${request.target}". See: npm run banyan -- shards list`)
    return this.inTurn(async () => {
      const begun = this.recordedOf(parts)
      const planned = this.#plannedOf(request, target, begun)
      const checked = await this.check(planned)
      const held = this.#records.heldSlots()
      for (const [index, each] of checked.entries()) {
        this.#refuse(each, held)
        this.#refuseBusy(each, begun)
        if ((index + 1) % limits.movesRecordedAtOnce === 0) await this.#records.pause()
      }
      return this.record(checked, parts, (moves) => this.#records.transaction(() => once(moves)))
    })
  }

  /**
   * Records planned moves in pieces with pauses in between, so that thousands of them do not block the object. `last`
   * is called instead of a transaction for the last piece. It records that piece and resolves to all moves of the
   * request, including those that an interrupted attempt recorded. Call it while no other plan runs, with moves of slots
   * that no other move holds.
   */
  async record<T>(planned: CheckedMove[], parts: Parts, last: (record: () => MoveRecord[]) => T): Promise<T> {
    const moves = this.recordedOf(parts)
    const held = this.#records.heldSlots()
    const size = limits.movesRecordedAtOnce
    let index = 0
    for (; planned.length - index > size; index += size) {
      const recorded = this.#records.transaction(() => {
        const piece = this.enqueue(planned.slice(index, index + size), held)
        parts.add(piece.map(({ id }) => id))
        return piece
      })
      moves.push(...recorded)
      await this.#records.pause()
    }
    return last(() => [...moves, ...this.enqueue(planned.slice(index), held)])
  }

  /** The moves that an earlier attempt of the same request recorded. */
  recordedOf(parts: Parts): MoveRecord[] {
    return parts.moves().map((id) => present(this.#records.find(id), `the move ${id}, which the request recorded`))
  }

  /**
   * Records all these moves as `planned`, in one transaction. They may share a shard: each waits until the lanes of
   * both its shards are free. Throws SLOTS_IN_MOVE, SHARD_NOT_SERVING.
   */
  enqueue(planned: CheckedMove[], held = this.#records.heldSlots()): MoveRecord[] {
    return this.#records.transaction(() =>
      planned.map((move) => {
        const { keyspace, source, target, ranges, bytesEstimated = null } = move
        this.#refuse(move, held)
        const record = { ...this.#draft(keyspace, this.#entry(source), this.#entry(target), ranges), bytesEstimated }
        held.add(this.#records.add(record), keyspace, ranges)
        return record
      }),
    )
  }

  /**
   * Asks each shard of these moves once, a few at a time. Resolves to the moves, each with the most bytes that it
   * brings to its target. Throws SCHEMA_VERSIONS_DIFFER, SHARD_LACKS_ROOM, SHARD_UNAVAILABLE.
   */
  async check(planned: PlannedMove[]): Promise<CheckedMove[]> {
    const shards = new Map(
      planned.flatMap(({ source, target }) => [source, target]).map((id) => [id, this.#entry(id)] as const),
    )
    const factsOf = await this.#facts([...shards.values()])
    for (const { source, target } of planned) this.#refuseSchemas(source, target, factsOf)
    const { directory } = this.#options
    const counts = new Map(directory.keyspaces.map((keyspace) => [keyspace, directory.slotCounts(keyspace)]))
    const checked = planned.map((move) => {
      const slotsThere = counts.get(move.keyspace)?.get(move.source) ?? 0
      const bytesEstimated = bytesOfSlots(factsOf(move.source).bytes, countSlots(move.ranges), slotsThere)
      return { ...move, bytesEstimated }
    })
    await this.#refuseFull(checked, factsOf)
    return checked
  }

  /** Throws SCHEMA_VERSIONS_DIFFER if a new shard's schema differs from the first shard's. */
  async refuseOtherSchema(newcomer: ShardEntry): Promise<void> {
    const first = present(this.#options.directory.shardEntries()[0], 'a first shard')
    this.#refuseSchemas(first.id, newcomer.id, await this.#facts([first, newcomer]))
  }

  /** One move per source, without the sources that an earlier attempt of the request already recorded. */
  #plannedOf(request: MoveRequest, target: ShardEntry, begun: MoveRecord[]): PlannedMove[] {
    return [...this.#sources(request, target)]
      .filter(([{ id }]) => !begun.some(({ source }) => source.id === id))
      .map(([{ id }, ranges]) => ({ keyspace: request.keyspace, source: id, target: target.id, ranges }))
  }

  /** The requested slots, by the shard that owns them now. */
  #sources({ keyspace, ranges }: MoveRequest, target: ShardEntry): Map<ShardEntry, SlotRange[]> {
    const { directory } = this.#options
    const shards = directory.shardEntries()
    const spans = spansOf(directory.runs(keyspace))
    const sources = new Map<ShardEntry, SlotRange[]>()
    for (const [first, last] of ranges)
      for (const span of spans) {
        const owner = present(shards[span.shard], 'the shard of a run')
        const from = Math.max(span.first, slotNumber(first))
        const to = Math.min(span.after - 1, slotNumber(last))
        if (owner.id === target.id || from > to) continue
        sources.set(owner, [...(sources.get(owner) ?? []), [slotText(from), slotText(to)]])
      }
    return sources
  }

  #draft(keyspace: Keyspace, source: ShardEntry, target: ShardEntry, ranges: SlotRange[]): MoveRecord {
    return {
      id: this.#options.newId(),
      keyspace,
      ranges,
      slots: countSlots(ranges),
      source: { id: source.id, binding: source.binding },
      target: { id: target.id, binding: target.binding },
      state: 'planned',
      attempt: 0,
      attemptIsFor: 'fence',
      attemptsGivenUp: 0,
      reversals: 0,
      reversed: false,
      ending: null,
      hasLanes: false,
      epoch: null,
      rowsTotal: 0,
      rowsCopied: 0,
      rowsVerified: 0,
      cutoverMs: null,
      bytesEstimated: null,
      error: null,
      createdAt: this.#options.clock.now(),
      attemptAt: null,
      committedAt: null,
      settlesAt: null,
      ...{ interrupted: null, stuck: null, leftAlone: null, captured: 0, captureStopped: false },
    }
  }

  async #facts(shards: ShardEntry[]): Promise<FactsOf> {
    const { clock, shardFacts } = this.#options
    const facts = new Map<string, ShardFacts>()
    await eachAtMost(limits.shardsAtOnceMax, shards, async (shard) => {
      const late = () =>
        new BanyanError(
          'SHARD_UNAVAILABLE',
          `${shard.id} did not answer within ${limits.directoryShardMs} ms. Nothing was planned. Try again.`,
        )
      facts.set(shard.id, await inTime(clock, limits.directoryShardMs, shardFacts(shard), late))
    })
    return (id) => present(facts.get(id), `the facts of ${id}`)
  }

  #refuseSchemas(source: string, target: string, factsOf: FactsOf): void {
    const expected = factsOf(target).schema
    const { schema } = factsOf(source)
    refusePending(target, expected, this.#options.newestMigration)
    if (schema !== expected)
      throw new BanyanError(
        'SCHEMA_VERSIONS_DIFFER',
        `${source} is at ${schema}, and ${target} at ${expected}. Migrate all shards first: ${MIGRATE}`,
      )
  }

  async #refuseFull(moves: Required<CheckedMove>[], factsOf: FactsOf): Promise<void> {
    const { shardBytesMax = limits.shardBytesMax } = this.#options
    let looked = 0
    for (const [target, planned] of Map.groupBy(moves, (move) => move.target)) {
      const open = this.#records.openAt(target, { lanes: ['held', 'planned'] })
      const arrivals = [
        ...open.flatMap((move) => arrivalOf(move, target) ?? []),
        ...planned.map(({ source, keyspace, bytesEstimated }) => ({ source, keyspace, bytes: bytesEstimated })),
      ]
      refuseLackOfRoom(target, factsOf(target).bytes, arrivals, shardBytesMax)
      if (++looked % limits.movesRecordedAtOnce === 0) await this.#records.pause()
    }
  }

  /** Throws SHARD_NOT_SERVING, SLOTS_IN_MOVE. */
  #refuse({ keyspace, source, target, ranges }: PlannedMove, held: HeldSlots): void {
    const entries = [this.#entry(source), this.#entry(target)] as const
    for (const shard of entries)
      if (shard.state === 'read-only' || shard.state === 'restoring')
        throw new BanyanError(
          'SHARD_NOT_SERVING',
          `${shard.id} is ${shard.state}, so no slots can leave or reach it. ${makeServing(shard)}`,
        )
    if (entries[1].state !== 'serving')
      throw new BanyanError('SHARD_NOT_SERVING', `${takesNone(entries[1])} Choose another target.`)
    const number = held.holderOf(keyspace, ranges)
    if (number === null) return
    const holder = this.#records.byNumber(number)
    throw new BanyanError(
      'SLOTS_IN_MOVE',
      `Slots of ${formatRanges(ranges)} are in move ${holder.id} (${holder.state}). Wait until it is done${isBeforeCommit(holder) ? ', or abort it' : ''}.`,
      { retryAfterSeconds: limits.moveRetryAfterSeconds },
    )
  }

  /** A single move that an operator requests does not queue. The error names the move in the way. */
  #refuseBusy({ source, target }: PlannedMove, begun: MoveRecord[]): void {
    const limit = begun.length + 1
    const busy = [source, target]
      .flatMap((shard) => this.#records.openAt(shard, { lanes: ['held', 'planned'], limit }))
      .find(({ id }) => !begun.some((own) => own.id === id))
    if (busy)
      throw new BanyanError(
        'SHARD_IN_MOVE',
        `Move ${busy.id} (${busy.state}) uses ${source} or ${target}, and a shard takes part in one move at a time. Wait until it is done: npm run banyan -- moves show ${busy.id} --follow`,
        {
          retryAfterSeconds: limits.moveRetryAfterSeconds,
        },
      )
  }

  #shard(id: string): ShardEntry | undefined {
    return this.#options.directory.findShard(id)
  }

  #entry(id: string): ShardEntry {
    return this.#options.directory.getShard(id)
  }
}

/**
 * A migration that arrives during a move would fail it. A shard may be ahead of the Worker, because it is migrated
 * first.
 */
function refusePending(id: string, version: string, newestMigration: string): void {
  if ((version.split(', ').at(-1) ?? '') < newestMigration)
    throw new BanyanError(
      'SCHEMA_VERSIONS_DIFFER',
      `${id} is at ${version}, and ${newestMigration} is pending. Migrate all shards first: ${MIGRATE}`,
    )
}
